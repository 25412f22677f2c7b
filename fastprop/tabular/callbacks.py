"""scikit-learn's callbacks in fits of an ensemble."""

from __future__ import annotations

from ..estimators.callbacks import FitObserver


class MembersObserver(FitObserver):
    """Of `BaseTabular`: a subtask is an epoch of all members. That they train again for ``refit`` is none."""

    def watch(self, members):
        """Say what is trained."""
        self._members = members

    def _store(self, loss):
        self._estimator._store(self._members)

    def _snapshot(self):
        return {"members_": [member.best_network() for member in self._members]}
