"""The interface to scikit-learn: networks as estimators for its pipelines, searches and cross-validation.

>>> from sklearn.datasets import load_iris
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> from nnarray.estimators import MLPClassifier
>>> X, y = load_iris(return_X_y=True)
>>> classifier = make_pipeline(StandardScaler(), MLPClassifier((20,), learning_rate_init=0.05, random_state=0))
>>> classifier.fit(X, y).score(X, y) > 0.95
True
"""

try:
    import sklearn as _sklearn
except ModuleNotFoundError as error:
    if error.name != "sklearn":
        raise
    raise ImportError("nnarray.estimators needs scikit-learn; pip install 'nnarray[sklearn]'.") from error

from nnarray.estimators.mlp import MLPClassifier, MLPRegressor
from nnarray.estimators.wrappers import NetworkClassifier, NetworkRegressor

del _sklearn

__all__ = ["MLPClassifier", "MLPRegressor", "NetworkClassifier", "NetworkRegressor"]
