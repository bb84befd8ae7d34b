"""Fine-tunes a model on the best of its own answers; only the answers are learnt.

    python -m trainers.best_of_n --model=runs/demo/model --n=8 --output=best.jsonl \
        --source=jsonl:questions.jsonl --fields=prompt=question \
        --rewards="1 number_after:####"
    python -m trainers.train --config=configs/best_of_n.py --workdir=runs/best \
        --config.init_from=runs/demo/model --config.data.source=jsonl:best.jsonl

The first command samples the answers, scores them and keeps the best. Where prompts are
messages, add `--config.data.format=chat`. Repeat both commands with the tuned model for
another round.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run


def get_config():
    return Run(
        init_from="runs/demo/model",
        objective=LanguageModel(),
        data=Data(
            source="jsonl:best.jsonl",
            format="prompt",
            pack="best_fit",
            too_long="drop",
            batch=4,
        ),
        optimizer=Optimizer(lr=1e-5, warmup=20, final=0.0, weight_decay=0.0),
        epochs=2,
        log_every=10,
        eval_every=50,
        save_every=50,
    )
