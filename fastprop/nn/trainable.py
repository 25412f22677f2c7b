"""The part of `Module` that is about whole epochs: `fit`, and `lower`, from which compiled epochs are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..annotations import AnyLoss, ArrayLike, MatrixLike, RandomSource
from . import fitting

if TYPE_CHECKING:
    from ..optim import Optimizer
    from .program import Program


class Trainable:
    """Base of `Module`."""

    takes_need_dx: bool = False  # whether backward can do without the gradient with respect to the input

    def lower(self, program: Program) -> None:
        """Add to a layer program the rows that do what ``forward`` and ``backward`` do, so that `fit` is compiled.

        A module of your own can have it if it is made of others: ``program.module(self.first)``, then
        ``program.module(self.second)``. A class with another ``forward`` or ``backward`` needs another ``lower`` too.

        Parameters
        ----------
        program : Program
            What the rows are added to.

        Raises
        ------
        NotPlain
            If there are no such rows, as by default.
        """
        raise program.not_plain(self, "is none of the layers that can be compiled")

    def fit(
        self,
        X: MatrixLike,
        y: ArrayLike,
        loss: AnyLoss,
        optimizer: Optimizer,
        epochs: int = 10,
        batch_size: int = 32,
        *,
        validation_data: tuple[MatrixLike, ArrayLike] | None = None,
        shuffle: bool = True,
        random_state: RandomSource = None,
        callback: Callable[[int, dict[str, list[float]]], object] | None = None,
        progress: bool = False,
        compiled: bool | None = None,
        n_jobs: int | None = None,
    ) -> dict[str, list[float]]:
        """Train in mini-batches, in training mode; afterwards every module has the mode that it had before.

        Epochs run in compiled calls, as those of the estimators do, for models of `Linear` layers with biases, the activations of
        `fastprop.nn`, `Dropout`, `LayerNorm` and `BatchNorm1d` in any order, in `Sequential` and `Residual`, all of one dtype; with
        `SoftmaxCrossEntropy`, `BinaryCrossEntropy`, `MSELoss` or `PoissonLoss`, and with any optimizer of `fastprop.nn` that was
        made for all parameters. Everything else runs layer by layer: `Graph`, and what is of your own without `lower`. The numbers
        are the same up to rounding.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix, shape (n, n_in)
            The rows to train on. Sparse ones are compiled if they go into a `Linear` layer alone.
        y : array-like
            As the loss takes it.
        loss : Loss
            What is minimised. It may be of your own: any object that gives a number for (outputs, y), and has ``backward()``, the
            gradient of that number with respect to the outputs.
        optimizer : Optimizer
            Made from ``model.parameters()``; a later fit goes on with its state.
        epochs : int
            Number of passes over the data.
        batch_size : int
            Rows in a mini-batch; the last of an epoch may have fewer.
        validation_data : (X, y), optional
            The loss on them is computed after each epoch, in evaluation mode.
        shuffle : bool
            Draw a new order of the rows for each epoch.
        random_state : int, Generator, RandomState or None
            For the orders.
        callback : function of (epoch, history), optional
            Called after each epoch, counted from 0, with the model in evaluation mode; may look at the model and change the
            optimizer's lr. Stops the training by returning True; any other value means nothing. Training goes on in training mode
            whatever modes it sets.
        progress : bool
            Show a bar on stderr.
        compiled : bool, optional
            True: raise an error that gives the reason if epochs cannot be compiled. False: layer by layer in any case.
        n_jobs : int, optional
            Threads. None: as many as the work justifies; -1: all cores; never more than a limit of threadpoolctl.

        Returns
        -------
        dict
            'loss': of each epoch the mean over its batches, each before its update; with validation_data also 'val_loss'. After
            Ctrl-C, which ends the training with a warning, it holds the epochs that were finished.

        Warns
        -----
        RuntimeWarning
            Once, if the loss of an epoch is infinite or NaN. Training stops after the first epoch whose loss is NaN, because the
            parameters are NaN too and stay so; it goes on if the callback has made them finite again.
        """
        return fitting.fit(
            self,
            X,
            y,
            loss,
            optimizer,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            shuffle=shuffle,
            random_state=random_state,
            callback=callback,
            progress=progress,
            compiled=compiled,
            n_jobs=n_jobs,
        )
