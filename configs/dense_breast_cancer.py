"""A dense net that tells malignant from benign tumours (scikit-learn's WDBC).

    python -m trainers.train --config=configs/dense_breast_cancer.py --workdir=runs/dense
"""

from trainers.config import Data, Optimizer, Run
from trainers.objectives import Classify
from zoo.models.dense_net import Config


def get_config():
    return Run(
        model=Config(
            features=30, classes=2, labels=("malignant", "benign"), widths=(32,)
        ),
        objective=Classify(),
        data=Data(source="sklearn:breast_cancer", batch=32, hold_out=0.2),
        optimizer=Optimizer(lr=3e-3),
        epochs=40,
        log_every=50,
        eval_every=100,
        save_every=100,
    )
