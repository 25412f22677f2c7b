"""Imported first by modules that need scikit-learn: if it is not installed, the error says what to install.

The rest of fastprop works with NumPy alone: kernels, Network, nn, optim, inspection. No other file deals with a missing
scikit-learn.
"""

try:
    import sklearn as sklearn
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise  # it is installed, but something that it imports is missing: the message names it
    message = (
        "fastprop's estimators and transformers need scikit-learn, which is not installed: pip install scikit-learn. "
        "fastprop.kernels, Network, nn, optim and inspection work without it."
    )
    raise ModuleNotFoundError(message, name="sklearn") from error
