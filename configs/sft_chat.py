"""Fine-tunes a chat model on chats of your own; only the assistant's words are learnt.

    python -m trainers.train --config=configs/sft_chat.py --workdir=runs/sft \
        --config.init_from=DIR --config.data.source=jsonl:chats.jsonl

DIR is a chat model: a model directory, a folder or an id of the Hugging Face Hub, or a
GGUF file. Its chat template writes the chats. Each line of the file has the column
`messages`: a list of objects with `role` and `content`. Short chats share windows of
1,024 tokens and do not see each other. `python -m zoo.prepare --show=3 --format=chat
--source=jsonl:chats.jsonl --tokenizer=DIR` shows what is learnt.
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Optimizer, Run


def get_config():
    return Run(
        init_from="runs/demo/model",
        objective=LanguageModel(),
        data=Data(
            source="jsonl:chats.jsonl",
            format="chat",
            pack="best_fit",
            too_long="drop",
            batch=4,
        ),
        optimizer=Optimizer(lr=2e-5, warmup=20, final=0.0, weight_decay=0.0),
        epochs=3,
        log_every=10,
        eval_every=50,
        save_every=50,
    )
