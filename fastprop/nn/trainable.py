"""The part of `Module` that is about whole epochs: `fit`, and `lower`, from which compiled epochs are made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..annotations import AnyLoss, ArrayLike, Floats, MatrixLike, RandomSource
from ..precision import Precision
from . import evaluation, fitting

if TYPE_CHECKING:
    from ..inspection import GradientFlow
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
        X: MatrixLike | tuple[MatrixLike, ...],
        y: ArrayLike,
        loss: AnyLoss,
        optimizer: Optimizer,
        epochs: int = 10,
        batch_size: int = 32,
        *,
        validation_data: tuple[MatrixLike | tuple[MatrixLike, ...], ArrayLike] | None = None,
        metrics: Mapping[str, Callable[[Floats, Any], object] | str] | Iterable[str] | None = None,
        clip_norm: float | None = None,
        flow: GradientFlow | None = None,
        shuffle: bool = True,
        random_state: RandomSource = None,
        callback: Callable[[int, dict[str, list[float]]], object] | None = None,
        progress: bool = False,
        compiled: bool | None = None,
        n_jobs: int | None = None,
        precision: Precision = None,
    ) -> dict[str, list[float]]:
        """Train in mini-batches, in training mode; afterwards every module has the mode that it had before.

        Epochs run in compiled calls, as those of the estimators do, for models of `Linear` layers with biases, the activations of
        `fastprop.nn`, `Dropout`, `LayerNorm` and `BatchNorm1d` in any order, in `Sequential` and `Residual`, all of one dtype; with
        any loss but `ElementwiseLoss`, and with any optimizer of `fastprop.nn` that was made for all parameters. Everything else
        runs layer by layer: `Graph`, and your own modules without `lower`. The results are the same up to rounding.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix, shape (n, n_in), or tuple of these
            The rows to train on. Sparse ones are compiled if they go into a `Linear` layer alone. A tuple has the inputs of a
            model that takes several, such as a `Graph`. A `Graph`, or a module of your own, may also take one number for each
            sample, shape (n,).
        y : array-like
            As the loss takes it.
        loss : Loss
            What is minimised. It may be your own: any object that returns a number for (outputs, y), and has ``backward()``, the
            gradient of that number with respect to the outputs.
        optimizer : Optimizer
            Made from ``model.parameters()``; a later fit goes on with its state.
        epochs : int
            Number of passes over the data.
        batch_size : int
            Rows in a mini-batch; the last of an epoch may have fewer.
        validation_data : (X, y), optional
            The loss on them is computed after each epoch, in evaluation mode; X and y in the forms of the first two arguments.
        metrics : dict of str to function, or 'accuracy', optional
            Functions of (outputs, y) that return a number, called after each epoch with the outputs of `predict`, for the training
            data and for the validation data if there are any: one more forward over all rows for each. ``metrics="accuracy"`` is
            the accuracy, for `SoftmaxCrossEntropy` and `BinaryCrossEntropy`; it may also take the place of a
            function in the dict. scikit-learn's metrics take y first: ``lambda outputs, y: r2_score(y, outputs)``.
        clip_norm : float, optional
            The gradient of each batch is multiplied by ``min(1, clip_norm / (norm + 1e-6))``, its norm being that of all
            parameters together, as `clip_grad_norm` and ``torch.nn.utils.clip_grad_norm_`` do it.
        flow : GradientFlow, optional
            Of `fastprop.inspection`, made for this model. Before each epoch it records the gradients of the epoch's first batch,
            before they are clipped, and warns of those that vanish or explode: one more step for each epoch. To record every step,
            write the loop by hand and call ``flow.backward``.
        shuffle : bool
            Draw a new order of the rows for each epoch.
        random_state : int, Generator, RandomState or None
            For the orders. None draws other orders in every run; ``np.random.seed`` does not change them.
        callback : function of (epoch, history), optional
            Called after each epoch, counted from 0, with the model in evaluation mode; may look at the model and change the
            optimizer's lr. Stops the training by returning True; any other value means nothing. Training goes on in training mode
            whatever modes it sets. If it has methods ``on_fit_begin(model)`` and ``on_fit_end(model)``, these are called before the
            first epoch and at the end, also after Ctrl-C and errors. `fastprop.inspection.TrainingAnimation` is one.
        progress : bool
            Show a bar on stderr.
        compiled : bool, optional
            True: raise an error that gives the reason if epochs cannot be compiled. False: layer by layer in any case.
        n_jobs : int, optional
            Threads. None: as many as the work justifies; -1: all cores; never more than a limit of threadpoolctl.
        precision : {'bfloat16'}, optional
            Allows the products of compiled epochs to read numbers rounded to bfloat16, of parameters in float32: faster where the
            processor has the instructions, as ``fastprop info`` says. Sums, parameters, optimizer, norms and losses stay float32;
            'val_loss' has the products that training has, metrics and `predict` those of float32. It is an allowance: what is no
            faster so trains in float32.

        Returns
        -------
        dict
            'loss': of each epoch the mean over its batches, each before its update; with validation_data also 'val_loss'; with
            metrics a list by the name of each, such as 'accuracy', and 'val_accuracy' for the validation data. After Ctrl-C, which
            ends the training with a warning, it holds the epochs that were finished. Metrics are NaN for an epoch that leaves
            parameters which are not finite.

        Warns
        -----
        RuntimeWarning
            If an epoch leaves a parameter that is infinite or NaN: no update brings that back. Training stops, unless the callback
            has made it finite again. Model and optimizer are then as they were at the end of the epoch before, of which each
            compiled call keeps a copy. The warning has the epoch, the batch, and the first layer whose output or gradient was not
            finite, which is found by repeating the epoch. Also, once, if the loss of an epoch is infinite or NaN while all
            parameters are finite; training goes on.
        GradientWarning
            From the flow.
        """
        return fitting.fit(
            fitting.Problem(self, loss, optimizer, X, y, batch_size, clip_norm, validation_data, precision),
            epochs=epochs,
            shuffle=shuffle,
            random_state=random_state,
            metrics=metrics,
            flow=flow,
            callback=callback,
            progress=progress,
            compiled=compiled,
            n_jobs=n_jobs,
        )

    def predict(
        self, X: MatrixLike | tuple[MatrixLike, ...], *more: MatrixLike, batch_size: int = evaluation.EVALUATION_ROWS
    ) -> Floats:
        """Compute the outputs in evaluation mode, some rows at a time; nothing is kept for a backward.

        Afterwards every module has the mode that it had before. The outputs are those of ``forward``, as in Keras: logits, where
        the loss takes logits. ``predict(X).argmax(axis=1)`` are then class numbers, ``nn.Softmax()(predict(X))`` probabilities.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix, shape (n, n_in), or tuple of these
            The rows. What has fewer than two dimensions goes to the model as a whole.
        *more : array-like or SciPy sparse matrix
            The other inputs of a module that takes several, with n rows each; or all inputs are in one tuple.
        batch_size : int
            Rows at a time, which bounds the memory that is needed besides the outputs.

        Returns
        -------
        ndarray, shape (n, n_out), or tuple of these
            A new array; a tuple if the model has several outputs.

        Raises
        ------
        ValueError
            If inputs differ in their numbers of rows, or an output does not have a row for each of them.
        """
        return evaluation.predict(self, (X, *more), batch_size)
