"""A story on real data: from questions with answers to an aligned model that is served.

    python -m benchmarks.align_story --data=FOLDER --output=runs/story [--quick]

FOLDER has gsm8k_train.jsonl.xz and gsm8k_test.jsonl.xz (`question`, `answer`), and
gsm8k_solution_preferences.jsonl.xz (`id`, `prompt`, `chosen`, `rejected`). The stages:

    sft         a Transformer of 4 layers, made here, learns short answers as chats, and
                the calculations of all answers
    dpo         learns the pairs from there; a fifth of the ids is the test set
    reward      so does a reward model
    ppo, grpo   learn a reward from there: 0.2 for "#### NUMBER" as the last line, and
                0.8 times the share of annotations such as <<48/2=24>> that are right
    best_of_4   takes the best of 4 answers of sft by that reward
    compare     ppo and grpo against sft, on sampled answers to the same prompts
    serve       exports grpo, checks the export, and asks it a test question
    curves      draws what the runs logged

A stage whose figures stand in OUTPUT/figures.json is not run again; a run that was
stopped goes on. The last stage writes OUTPUT/story.md. Prompts of evaluation are the
first test questions with a short answer (`story_data`). The preferences are about test
questions too, so nothing that learns from prompts begins from `dpo` or `reward`.

Success is a reward of 1. "true" is the share of annotations that are right; "right
answer" that of right numbers behind ####, which is no part of the reward. "trivial"
annotations have an operand 0 or 1, no operator, or stand in the answer before.
Intervals are of 1,000 bootstrap resamples at 95 %, of the questions. --quick runs each
stage for a few steps, to see that all of them work.
"""

import json
import pathlib
import subprocess
import sys
import time
from typing import Any

import numpy as np
from absl import flags

from zoo import command, files

with command.quiet_imports():
    from benchmarks import story_data, story_report, story_runs
    from benchmarks.preference_pairs import by_id
    from trainers import loop, rewards
    from trainers.evaluation import preferences
    from trainers.evaluation.comparison import rewarded, win_rate
    from trainers.evaluation.request import Request
    from trainers.run_flags import run_app
    from zoo import directory
    from zoo.metrics import bootstrap

_DATA = flags.DEFINE_string("data", None, "The folder of the data.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Of runs and figures.", required=True)
_QUICK = flags.DEFINE_bool("quick", False, "A few steps of each stage.")

_PARTS = (*story_runs.REWARDS, "0 number_after:####", "0 trivial")
_N, _ROWS = 4, 50  # of best-of-n; answers at a time
_SHOWN = 3  # questions whose answers the page shows


def main(argv):
    """Runs the stages, and prints the figures of each."""
    del argv
    folder = pathlib.Path(_OUTPUT.value)
    story = Story(folder, story_runs.QUICK if _QUICK.value else story_runs.FULL)
    path = folder / "figures.json"
    kept = files.read_json(path) if path.exists() else {"quick": _QUICK.value}
    if kept["quick"] != _QUICK.value:
        raise ValueError(
            f"--quick: {_QUICK.value}, but {path} is of another size; another --output "
            "allowed."
        )
    if not path.exists():
        story_data.write(pathlib.Path(_DATA.value), folder / "data", story.size.prompts)
        files.write_json(path, kept)
    stages: dict[str, Any] = {
        "sft": story.sft,
        "dpo": story.dpo,
        "reward": story.reward,
        "ppo": lambda: story.policy("ppo"),
        "grpo": lambda: story.policy("grpo"),
        "best_of_4": story.best,
        "compare": story.compare,
        "serve": story.serve,
        "curves": story.curves,
    }
    for name, stage in stages.items():
        if name not in kept:
            began, worked = time.perf_counter(), time.process_time()
            found = stage()
            found["seconds"] = time.perf_counter() - began
            found["cpu_seconds"] = time.process_time() - worked
            kept[name] = found
            files.write_json(path, kept)
        print(f"{name}: {json.dumps(kept[name], ensure_ascii=False)}", flush=True)
    text = story_report.page(kept)
    (folder / "story.md").write_text(text, "utf-8")
    print(f"\n{text}")


class Story:
    """The stages, each of which returns its figures, JSON-able.

    Args:
      folder: of runs.
      size: how long the stages are.
    """

    def __init__(self, folder: pathlib.Path, size: story_runs.Size):
        self.folder, self.size = folder, size

    def sft(self) -> dict[str, Any]:
        """Imitation, and what it does on prompts and on pairs."""
        training = self._train("sft", story_runs.sft(self.folder, self.size))
        found = self._answers("sft", 1, temperature=0.0)
        return {**training, **greedy(found), "pairs": self._pairs("sft")[0]}

    def dpo(self) -> dict[str, Any]:
        """DPO: the accuracy of the implicit reward, and of log-probabilities."""
        run = story_runs.dpo(self.folder, self.size)
        training = self._train("dpo", run)
        _, before_E, ids_E = self._pairs("sft")
        figures, after_E, _ = self._pairs("dpo")
        found = accuracy(after_E - before_E, ids_E)
        return {**training, "implicit_reward": found, "pairs": figures}

    def reward(self) -> dict[str, Any]:
        """The reward model."""
        training = self._train("reward", story_runs.reward(self.folder, self.size))
        return {**training, "pairs": self._pairs("reward")[0]}

    def policy(self, name: str) -> dict[str, Any]:
        """PPO or GRPO: greedy answers after it."""
        run = getattr(story_runs, name)(self.folder, self.size)
        training = self._train(name, run)
        found = self._answers(name, 1, temperature=0.0)
        return {**training, **greedy(found)}

    def best(self) -> dict[str, Any]:
        """One answer of sft, and the best of several."""
        found = self._answers("sft", _N, temperature=1.0)
        reward_PN = np.array([answered.reward_N for answered in found])
        success_PN = (reward_PN >= 1).astype(float)
        return {
            "one": {
                "success": measured(success_PN.mean(1)),
                "reward": measured(reward_PN.mean(1)),
            },
            "best": {
                "success": measured(success_PN.max(1)),
                "reward": measured(reward_PN.max(1)),
            },
            "kl_bound": float(np.log(_N) - (_N - 1) / _N),
        }

    def compare(self) -> dict[str, Any]:
        """The win rates of sampled answers, as `trainers.compare` has them."""
        base, found = directory.load(self._place("sft")), {}
        for name in ("ppo", "grpo"):
            models = (directory.load(self._place(name)), base)
            where = (str(self._place(name)), str(self._place("sft")))
            request = self._request(temperature=1.0)
            both = win_rate.compared(models, where, request, _PARTS)
            both["about"] = f"a {where[0]}, b {where[1]}"
            path = self.folder / f"{name}_against_sft.md"
            path.write_text(win_rate.page(both), "utf-8")
            samples = both.pop("samples")[:_SHOWN]
            found[name] = {**both, "samples": samples}
        return found

    def serve(self) -> dict[str, Any]:
        """Exports grpo and asks the SavedModel, in processes of their own."""
        base = self.folder / "served"
        if not (base / "1").is_dir():
            _command("zoo.export", f"--model={self._place('grpo')}", f"--output={base}")
        served = f"--saved_model={base / '1'}"
        checked = _command("zoo.check", served, "--calls=0")
        rows = story_data.rows_of(self.folder / "data/prompts_test.jsonl")
        question = rows[0]["prompt"][0]["content"]
        knobs = [f"--max_new_tokens={story_runs.LONGEST}", "--temperature=0"]
        asked = [served, "--chat", f"--prompt={question}", *knobs]
        return {
            "check": checked.splitlines()[-1],
            "question": question,
            "answer": _command("zoo.ask", *asked).rstrip(),
            "right": rows[0]["answer"],
        }

    def curves(self) -> dict[str, Any]:
        """Draws the curves, in processes of their own."""
        drawn = {}
        for name, runs, metrics in (
            ("policies", ("ppo", "grpo"), ("reward", "kl", "length")),
            ("pairs", ("reward", "dpo"), ("accuracy",)),
        ):
            asked = [f"--workdir={self.folder / run}" for run in runs]
            asked += [f"--metric={metric}" for metric in metrics]
            path = self.folder / f"{name}.png"
            _command("trainers.plot", *asked, f"--output={path}")
            drawn[name] = str(path)
        return drawn

    def _place(self, name) -> pathlib.Path:
        """The model directory of a run."""
        return self.folder / name / "model"

    def _train(self, name, run) -> dict[str, Any]:
        """Trains, or goes on; the last line of training, and the seconds."""
        began = time.perf_counter()
        result = loop.train(run, self.folder / name)
        if result.interrupted:
            raise KeyboardInterrupt
        seconds = time.perf_counter() - began
        lines = story_data.rows_of(self.folder / name / "metrics.jsonl")
        last = [line for line in lines if line["split"] == "train"][-1]
        return {"steps": result.step, "training_seconds": seconds, "last": last}

    def _request(self, **knobs) -> Request:
        """The test prompts."""
        knobs = {"max_new_tokens": story_runs.LONGEST, **knobs}
        return Request(
            source=f"jsonl:{self.folder}/data/prompts_test.jsonl",
            format="prompts",
            too_long="drop",
            length=story_runs.CONTEXT - story_runs.LONGEST,
            batch=_ROWS,
            knobs=knobs,
        )

    def _answers(self, name, samples, **knobs) -> list[rewarded.Answered]:
        """The answers of a model to the test prompts."""
        place, request = self._place(name), self._request(**knobs)
        loaded = directory.load(place)
        prompts = rewarded.prompts_of(loaded, str(place), request)
        with rewards.make(_PARTS) as score:
            return rewarded.answered(
                loaded, prompts, score, request.knobs, samples, request.batch
            )

    def _pairs(self, name) -> tuple[dict[str, Any], np.ndarray, np.ndarray]:
        """The accuracies of a model on the test pairs, its margins, and the ids."""
        path = self.folder / "data/pairs_test.jsonl"
        request = Request(
            source=f"jsonl:{path}",
            format="preference",
            too_long="drop",
            length=story_runs.CONTEXT,
            limit=self.size.pairs,
        )
        found = preferences.evaluate(directory.load(self._place(name)), request)
        rows = story_data.rows_of(path)
        rows = [rows[number] for number in found.numbers]
        ids_E = np.array([row["id"] for row in rows])
        shorter_E = [len(row["rejected"]) - len(row["chosen"]) for row in rows]
        margins_E = np.asarray(found.measures["margin"].rows_N)
        figures = {"pairs": len(rows), "shorter": accuracy(np.array(shorter_E), ids_E)}
        figures["accuracy"] = accuracy(margins_E, ids_E)
        if "accuracy_per_token" in found.measures:
            right_E = np.asarray(found.measures["accuracy_per_token"].rows_N)
            figures["accuracy_per_token"] = accuracy(right_E, ids_E)
        return figures, margins_E, ids_E


def accuracy(margins_E, ids_E) -> dict[str, float]:
    """The share of pairs with a positive margin, with its interval over ids."""
    rows_I2 = by_id(margins_E > 0, ids_E)
    low, high = bootstrap.interval(rows_I2, bootstrap.ratio)
    return {"value": bootstrap.ratio(rows_I2), "low": low, "high": high}


def greedy(found: list[rewarded.Answered]) -> dict[str, Any]:
    """The figures of one answer to each prompt."""
    parts_NP = np.concatenate([answered.parts_NP for answered in found])
    _, true_N, right_N, trivial_N = parts_NP.T
    reward_N = np.concatenate([answered.reward_N for answered in found])
    samples = [answered.samples[0] for answered in found]
    return {
        "prompts": len(found),
        "success": measured(reward_N >= 1),
        "reward": measured(reward_N),
        "true": measured(true_N),
        "right": measured(right_N),
        "trivial": measured(trivial_N),
        "annotations": measured([s.answer.count("<<") for s in samples]),
        "tokens": measured([s.length for s in samples]),
        "ended": measured([s.ended for s in samples]),
        "samples": [s.answer for s in samples[:_SHOWN]],
    }


def measured(values_N) -> dict[str, float]:
    """A mean with its interval."""
    values_N = np.asarray(values_N, np.float64)
    low, high = bootstrap.interval(values_N)
    return {"value": float(values_N.mean()), "low": low, "high": high}


def _command(module: str, *arguments: str) -> str:
    """What a command of the project prints, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], capture_output=True, text=True
    )
    if done.returncode:
        raise ValueError(f"{module} failed:\n{done.stdout}{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    run_app(main)
