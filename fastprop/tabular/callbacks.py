"""scikit-learn's callbacks in fits of an ensemble."""

from __future__ import annotations

from ..estimators.callbacks import FitObserver


class MembersObserver(FitObserver):
    """For `BaseTabular`: a subtask is an epoch of all members. Training again for ``refit`` is not a subtask."""

    def watch(self, members):
        """Set the members that are trained."""
        self._members = members

    def _store(self, loss):
        self._estimator._store(self._members)

    def _snapshot(self):
        return {"members_": [member.best_network() for member in self._members]}
