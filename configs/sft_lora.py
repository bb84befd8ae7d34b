"""Fine-tunes a pretrained chat model on chats of your own, by LoRA.

    python -m trainers.train --config=configs/sft_lora.py --workdir=runs/lora \
        --config.init_from=DIR --config.data.source=jsonl:mine/*.jsonl

DIR is a model directory, a folder or an id of the Hugging Face Hub, or a GGUF file. It
has a chat template. A line of the data is {"messages": [{"role": ..., "content": ...},
...]}; the assistant's messages are learnt. Prompts with completions need
--config.data.format=prompt.

Only the adapters learn and are in checkpoints. The run leaves `runs/lora/model`, with
the adapters merged, and `runs/lora/adapter`, which PEFT reads. The rate is higher than
that of full fine-tuning (Hu et al. 2021, arXiv:2106.09685).
"""

from trainers.objectives import LanguageModel
from trainers.run import Data, Lora, Optimizer, Run


def get_config():
    return Run(
        init_from="HuggingFaceTB/SmolLM2-135M-Instruct",
        lora=Lora(rank=16, alpha=32.0, dropout=0.05, targets=("all-linear",)),
        objective=LanguageModel(),
        data=Data(
            source="jsonl:chats.jsonl",
            format="chat",
            pack="best_fit",  # one shape: a step of many layers is compiled once
            too_long="drop",
            length=512,
            batch=8,
        ),
        optimizer=Optimizer(lr=2e-4, warmup=20, final=0.0, weight_decay=0.0),
        steps=300,
        log_every=10,
        eval_every=50,
        save_every=50,
    )
