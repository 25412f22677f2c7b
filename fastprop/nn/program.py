"""Program: the layer program of a model of `fastprop.nn`, to which the ``lower`` of every layer adds the layer's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ..annotations import ActivationName
from ..kernels import LayerProgram
from .errors import NotPlain, ShapeError, located

if TYPE_CHECKING:
    from .dropout import Dropout
    from .module import Module
    from .normalization import BatchNorm1d
    from .parameter import Parameter


class Program(LayerProgram):
    """A `kernels.LayerProgram` that is being built, with what its rows need from the model.

    Parameters
    ----------
    model : Module
        The model, for the names of the layers in errors.
    shape : (int, int)
        The shape of X.
    t : int
        The number of updates done so far.
    sizes_of_batches : set of int
        The numbers of rows that batches have.

    Attributes
    ----------
    parameters : list of Parameter
        The parameters of the rows, in their order.
    dropouts : list of Dropout
        The layers of dropout rows, whose forwards are counted.
    batch_norms : list of BatchNorm1d
        The layers of batch norm rows, in their order.
    """

    def __init__(self, model: Module, shape: tuple[int, int], t: int, sizes_of_batches: set[int]) -> None:
        self._n_rows, n_in = shape
        super().__init__(n_in)
        self.t, self.sizes_of_batches = t, sizes_of_batches
        self.parameters: list[Parameter] = []
        self.dropouts: list[Dropout] = []
        self.batch_norms: list[BatchNorm1d] = []
        self._names = {id(module): name for name, module in model.named_modules()}

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the last value, for all rows of X."""
        return self._n_rows, self.width

    def module(self, module: Module) -> Self:
        """Add the rows of a module.

        Parameters
        ----------
        module : Module
            Its ``lower`` is called.

        Returns
        -------
        Program
            This one.

        Raises
        ------
        NotPlain
            If no rows do the same as its ``forward`` and ``backward``.
        """
        lowered = _definer(module, "lower")
        for name in ("forward", "backward"):
            if name in vars(module) or (hasattr(lowered, name) and not issubclass(lowered, _definer(module, name))):
                raise self.not_plain(module, f"has its own {name}, for which it has no lower")
        module.lower(self)
        return self

    def activation(self, name: ActivationName) -> Self:
        """Add an activation, unless it does nothing.

        Parameters
        ----------
        name : str
            A name that `Linear` takes.

        Returns
        -------
        Program
            This one.
        """
        return self if name == "identity" else super().activation(name)

    def takes(self, module: Module, n_in: int) -> None:
        """Raise the error of a module's forward unless the module can take the last value.

        Parameters
        ----------
        module : Module
            The next module.
        n_in : int
            The number of columns that it takes.
        """
        if self.width != n_in:
            raise ShapeError(module, f"x must have shape (n, {n_in}); got {self.shape}")

    def with_parameters(self, *parameters: Parameter) -> Self:
        """Give the last row its parameters.

        Parameters
        ----------
        *parameters : Parameter
            In the order in which the row stores them.

        Returns
        -------
        Program
            This one.
        """
        self.parameters += parameters
        return self

    def not_plain(self, module: Module, reason: str) -> NotPlain:
        """Make the error for a module that has no rows.

        Parameters
        ----------
        module : Module
            The module.
        reason : str
            The text that follows its name.

        Returns
        -------
        NotPlain
            The error, to be raised.
        """
        name = self._names.get(id(module))
        return NotPlain(f"{located(name, module)}{',' if name else ''} {reason}")


def _definer(module: Module, name: str) -> type[Any]:
    """The class that defines an attribute of a module."""
    return next(cls for cls in type(module).__mro__ if name in vars(cls))
