"""An encoder-decoder beside the translation of the nearest training sentence.

    python -m benchmarks.translation --data=libreoffice_help_en_de.jsonl.xz \
        --source=en --target=de --workdir=runs/translation

Pairs whose source or target stood in the file before are dropped. A hash of the source
decides what is test (5 of 100), validation (3) and training. The baseline answers with
the target of the training sentence whose words are nearest by TF-IDF (scikit-learn).
The model is that of --config, which is trained on the training part only. The same
command goes on where training stopped. A source that is too long is cut. BLEU and chrF
are sacrebleu's, with intervals of 1,000 bootstrap resamples at 95 %.
"""

import pathlib
import time

from absl import flags

from zoo import command

with command.quiet_imports():
    from sklearn.feature_extraction.text import TfidfVectorizer

    from benchmarks import text_pairs
    from trainers.evaluation import seq2seq
    from trainers.evaluation.request import Request
    from trainers.run_flags import run_app
    from zoo import directory

_NAMES = ("bleu", "chrf")
_DATA = flags.DEFINE_string("data", None, "A file *.jsonl or *.jsonl.xz of pairs.")
_SOURCE = flags.DEFINE_string("source", "en", "The field of the source.")
_TARGET = flags.DEFINE_string("target", "de", "The field of the target.")
_CONFIG = flags.DEFINE_string("config", "translate", "The name of a file of configs/.")
_WORKDIR = flags.DEFINE_string("workdir", None, "A folder for the data and the run.")
_STEPS = flags.DEFINE_integer("steps", 0, "Of training; 0 is the config's number.")
_PRECISION = flags.DEFINE_string("precision", "", "Instead of the config's.")
_LIMIT = flags.DEFINE_integer("limit", 0, "Test pairs, the first; 0 is all.")
_BEAMS = flags.DEFINE_list("beams", ["1", "4"], "Widths of the beam search.")


def main(argv):
    """Prints a line for the baseline, and one for each width of the beam search."""
    del argv
    for flag in (_DATA, _WORKDIR):
        if not flag.value:
            raise ValueError(f"--{flag.name}: missing.")
    parts = text_pairs.split(
        text_pairs.read(str(_DATA.value), _SOURCE.value, _TARGET.value)
    )
    print(", ".join(f"{len(pairs)} {name}" for name, pairs in parts.items()))
    test = parts["test"] = parts["test"][: _LIMIT.value or None]
    folder = pathlib.Path(str(_WORKDIR.value))
    folder.mkdir(parents=True, exist_ok=True)
    specs = text_pairs.write(folder, parts)
    texts = nearest(parts["train"], test)
    text_pairs.show("nearest sentence", text_pairs.scored(_NAMES, texts, test), _NAMES)
    options = _STEPS.value, _PRECISION.value
    if text_pairs.train(str(_CONFIG.value), specs, folder, *options).interrupted:
        return
    loaded = directory.load(folder / "run" / "model")
    for beams in map(int, _BEAMS.value):
        knobs = {"max_new_tokens": loaded.model.config.context, "beams": beams}
        began = time.perf_counter()
        request = Request(
            source=specs["test"],
            format="seq2seq",
            too_long="cut",
            metrics=_NAMES,
            knobs=knobs,
        )
        measures = seq2seq.evaluate(loaded, request).measures
        names = [*_NAMES, "loss", "length_ratio", "repetition", "copied"]
        text_pairs.show("greedy" if beams == 1 else f"beam {beams}", measures, names)
        print(f"{time.perf_counter() - began:.0f} s", flush=True)


def nearest(train, test) -> list[str]:
    """The target of the training pair whose source is nearest, for each test pair."""
    vectors = TfidfVectorizer(sublinear_tf=True)
    train_RV = vectors.fit_transform([pair["source"] for pair in train])
    test_NV = vectors.transform([pair["source"] for pair in test])
    found = []
    for first in range(0, len(test), 256):
        near_NR = test_NV[first : first + 256] @ train_RV.T
        found += near_NR.toarray().argmax(1).tolist()
    return [train[i]["target"] for i in found]


if __name__ == "__main__":
    run_app(main)
