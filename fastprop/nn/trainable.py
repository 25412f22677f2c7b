"""The part of `Module` for whole epochs: `fit`, `predict`, and `lower`, by which epochs are compiled."""

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

    takes_need_dx: bool = False  # whether backward has need_dx: it can leave out the gradient with respect to the input

    def lower(self, program: Program) -> None:
        """Add to a layer program the rows that do the same as ``forward`` and ``backward``, so that `fit` can be compiled.

        A module of your own that is made of other modules can define it: ``program.module(self.first)``, then
        ``program.module(self.second)``. A subclass with another ``forward`` or ``backward`` needs another ``lower``, too.

        Parameters
        ----------
        program : Program
            The program to add the rows to.

        Raises
        ------
        NotPlain
            If there are no such rows, which is the default.
        """
        raise program.not_plain(self, "is not one of the layers that can be compiled")

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
        """Train in mini-batches, in training mode; afterwards every module has its previous mode again.

        Epochs run in compiled calls, like those of the estimators, for models of `Linear` layers with biases, the activations of
        `fastprop.nn`, `Dropout`, `LayerNorm` and `BatchNorm1d` in any order, in `Sequential` and `Residual`, all of one dtype. The
        loss must be one of `fastprop.nn` other than `ElementwiseLoss`, and the optimizer one of `fastprop.nn` that was made for all
        parameters. Everything else runs layer by layer, such as `Graph` and your own modules without `lower`. The results are the
        same up to rounding.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix, shape (n, n_in), or tuple of these
            The rows to train on. With sparse rows, epochs are compiled if only a `Linear` layer takes the rows. A tuple has the
            inputs of a model that takes several, such as a `Graph`. A `Graph`, or a module of your own, may also take one number
            for each sample, shape (n,).
        y : array-like
            The targets, as the loss takes them.
        loss : Loss
            What is minimised. It may be your own: any callable that returns a number for (outputs, y) and has a ``backward()``
            that returns the gradient of that number with respect to the outputs.
        optimizer : Optimizer
            Made from ``model.parameters()``; a later fit continues with its state.
        epochs : int
            Number of passes over the data.
        batch_size : int
            Rows in a mini-batch; the last of an epoch may have fewer.
        validation_data : (X, y), optional
            X and y in the same forms as the first two arguments. The loss on them is computed after each epoch, in evaluation mode.
        metrics : dict of str to function, or 'accuracy', optional
            Functions of (outputs, y) that return a number. They are called after each epoch with the outputs of `predict`, for the
            training data and for validation data if there are any, which takes one more forward over all these rows.
            ``metrics="accuracy"`` is the accuracy, for `SoftmaxCrossEntropy` and `BinaryCrossEntropy`; 'accuracy' may also take the
            place of a function in the dict. scikit-learn's metrics take y first: ``lambda outputs, y: r2_score(y, outputs)``.
        clip_norm : float, optional
            The gradient of each batch is multiplied by ``min(1, clip_norm / (norm + 1e-6))``, where norm is that of the gradients
            of all parameters together, as in `clip_grad_norm` and ``torch.nn.utils.clip_grad_norm_``.
        flow : GradientFlow, optional
            A `fastprop.inspection.GradientFlow` of this model. Before each epoch it records the gradients of the epoch's first
            batch, before clipping, and warns if they vanish or explode; this costs one more step for each epoch. To record every
            step, write the loop by hand and call ``flow.backward``.
        shuffle : bool
            Draw a new order of the rows for each epoch.
        random_state : int, Generator, RandomState or None
            For the orders. None draws different orders in every run; ``np.random.seed`` does not affect it.
        callback : function of (epoch, history), optional
            Called after each epoch, counted from 0, with the model in evaluation mode. It may look at the model and change the
            optimizer's lr. Training stops if it returns True; any other value has no effect. Training continues in training mode
            whatever modes it sets. If it has the methods ``on_fit_begin(model)`` and ``on_fit_end(model)``, these are called before
            the first epoch and at the end, even after Ctrl-C and errors. An example is `fastprop.inspection.TrainingAnimation`.
        progress : bool
            Show a progress bar on stderr.
        compiled : bool, optional
            True: raise an error that gives the reason if epochs cannot be compiled. False: always run layer by layer. None: compile
            if possible.
        n_jobs : int, optional
            The number of threads. None: as many as the work justifies; -1: all cores; never more than a limit of threadpoolctl.
        precision : {'bfloat16'}, optional
            Allow compiled epochs of a float32 model to round the inputs of matrix products to bfloat16. This is faster on
            processors with the instructions; ``fastprop info`` says whether this one has them. Sums, parameters, optimizer, norms
            and losses stay float32. 'val_loss' uses the same products as training; metrics and `predict` use float32. Models that
            would not be faster train in float32.

        Returns
        -------
        dict
            Lists with a number for each epoch. 'loss' is the mean over the batches, each before its update. With validation_data
            there is 'val_loss'; with metrics a list under the name of each, such as 'accuracy', and 'val_accuracy' for the
            validation data. After Ctrl-C, which ends the training with a warning, the lists hold the finished epochs. Metrics are
            NaN for an epoch that leaves parameters that are not finite.

        Warns
        -----
        RuntimeWarning
            If an epoch leaves a parameter that is infinite or NaN, which no update can repair. Training stops, unless the callback
            makes the parameter finite again. Model and optimizer are then as they were at the end of the epoch before. The warning
            gives the epoch, the batch, and the first layer with an output or gradient that was not finite, found by repeating the
            epoch. Another warning is given once if the loss of an epoch is infinite or NaN while all parameters are finite;
            training goes on.
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
        """Compute the outputs in evaluation mode, some rows at a time; nothing is saved for a backward.

        Afterwards every module has its previous mode again. As in Keras, the outputs are those of ``forward``: logits if the loss
        takes logits. Then ``predict(X).argmax(axis=1)`` gives class numbers, and ``nn.Softmax()(predict(X))`` probabilities.

        Parameters
        ----------
        X : array-like or SciPy sparse matrix, shape (n, n_in), or tuple of these
            The rows. If an input has fewer than two dimensions, all inputs go to the model as a whole.
        *more : array-like or SciPy sparse matrix
            Further inputs of a module that takes several, with n rows each. All inputs may also be in one tuple.
        batch_size : int
            The number of rows at a time, which bounds the memory that is needed besides the outputs.

        Returns
        -------
        ndarray, shape (n, n_out), or tuple of these
            A new array; a tuple if the model has several outputs.

        Raises
        ------
        ValueError
            If inputs differ in their numbers of rows, or an output does not have a row for each row of the inputs.
        """
        return evaluation.predict(self, (X, *more), batch_size)
