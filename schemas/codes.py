"""The error catalogue: the only home of codes. `recipec explain CODE` and docs/errors.md are made from it.

RC0xx reading the file, RC1xx single values, RC2xx values that don't go together, RC3xx budget, RC4xx data and tokenizer,
RC5xx memory and hardware, RC6xx running and resuming, RC9xx our own faults.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["CATALOGUE", "Entry"]


class Entry(NamedTuple):
    """One page of the catalogue."""

    title: str
    why: str
    fix: str


CATALOGUE: Final[dict[str, Entry]] = {
    "RC001": Entry(
        "the recipe cannot be read",
        "The path leads to nothing, to a folder, or to a file that this user may not read.",
        "Check the path; `recipec init` writes a recipe to start from.",
    ),
    "RC002": Entry(
        "not valid YAML",
        "The text breaks YAML's own rules, so no key of it can be trusted. Tabs can't indent, and a `:` inside a value needs quotes.",
        "Mend the line shown; quote values that contain `: ` or start with one of [ ] { } > | * & ! % @ `.",
    ),
    "RC003": Entry(
        "not UTF-8 text",
        "Recipes are UTF-8. Another encoding, or a binary file, would be read as something that nobody wrote.",
        "Save the file as UTF-8.",
    ),
    "RC004": Entry(
        "the file is too large or too deep for a recipe",
        "A recipe is at most 1 MB, 64 levels deep and 100,000 values wide with its aliases written out. More is a data file or an attack (aliases of aliases grow exponentially).",
        "Give the path of the recipe itself; point to data with `data.sources`.",
    ),
    "RC005": Entry(
        "a key stands twice",
        "YAML readers keep one of the two without a word; which one is meant can't be known.",
        "Delete one of the two lines.",
    ),
    "RC006": Entry(
        "a YAML tag or feature that recipes don't have",
        "Tags such as `!!python/object` can build objects while the file is read. A recipe holds text, numbers, booleans, lists and mappings.",
        "Write the plain value without the tag.",
    ),
    "RC007": Entry(
        "`extends` can't be followed",
        "The recipe named is missing, can't be read, or leads back to a recipe that is already being read.",
        "Give a path relative to the file that holds the `extends` line, and break the circle.",
    ),
    "RC008": Entry(
        "a variable is unknown or unused",
        "`${name}` must be defined under `variables:` in this recipe or one that it extends.",
        "Define it under `variables:`, or write `$${name}` for the plain text.",
    ),
    "RC009": Entry(
        "`--set` can't be applied",
        "An override is `a.b.c=value`, with the value written as in YAML; the path must be one of the recipe's.",
        "Write for example `--set training.optimizer.lr=3e-4`.",
    ),
    "RC010": Entry(
        "the recipe is empty or not a mapping",
        "A recipe is a mapping of keys such as `name:`, `model:` and `data:`.",
        "`recipec init` writes one to start from.",
    ),
    "RC101": Entry(
        "unknown key",
        "A key that nothing reads would silently become a default, and be found at hour three.",
        "Write the key suggested, or delete the line. `recipec schema recipe` lists all keys.",
    ),
    "RC102": Entry(
        "a required key is missing",
        "Without it there is no sensible run, and no default would be right.",
        "Add the line shown.",
    ),
    "RC103": Entry(
        "a value of the wrong type",
        "The key takes another kind of value: a number, a text, a list or a mapping.",
        "Write the value as shown.",
    ),
    "RC104": Entry(
        "a value out of range",
        "The number lies outside of what the key can mean.",
        "Choose a value inside the range shown.",
    ),
    "RC105": Entry(
        "not one of the choices",
        "The key takes one of a few words.",
        "Write one of the choices shown.",
    ),
    "RC106": Entry(
        "a quantity with the wrong unit",
        "Quantities carry their unit, so that 300B tokens are never taken for 300 billion FLOP or bytes.",
        "Write the quantity as shown.",
    ),
    "RC107": Entry(
        "a name that can't be used",
        "Names become folders and words of shell scripts: letters, digits, `.`, `_` and `-`, at most 64, first a letter or a digit.",
        "Rename it.",
    ),
    "RC108": Entry(
        "a renamed key",
        "The key has another name in this language than in the trainer it is known from.",
        "Write the key shown.",
    ),
    "RC201": Entry(
        "two keys say the same thing",
        "Both fix one quantity, and they may disagree.",
        "Keep one of the two lines.",
    ),
    "RC202": Entry(
        "two techniques claim the same slot",
        "Each part of a run (gradients, weights' average, sequence length ...) is changed by one technique at a time.",
        "Remove one of the two.",
    ),
    "RC203": Entry(
        "a technique's requirement is not met",
        "The technique or key can't work with another choice of the recipe.",
        "Change one of the two values shown.",
    ),
    "RC204": Entry(
        "the model's dimensions don't fit together",
        "Heads must divide the width, key-value heads must divide heads, and a head's size must be even for rotary positions.",
        "Change one of the dimensions as shown.",
    ),
    "RC205": Entry(
        "the batch doesn't divide",
        "A global batch holds whole sequences, and every device gets the same number of them.",
        "Write the batch shown, or change `hardware.count` or `data.sequence_length`.",
    ),
    "RC206": Entry(
        "a run that there is not",
        "`run:` names an earlier run of the recipe's `sequence`, or `previous`, the one just before. Runs happen one after the other, so a later one is not there yet.",
        "Write the name of an earlier run, or move the run in `sequence`.",
    ),
    "RC207": Entry(
        "the run doesn't fit what it starts from",
        "Trained weights have the dimensions, tokens and positions that they were trained with. A model of other ones can't hold them, and would compute something else.",
        "Delete the line: what the recipe leaves out follows the start.",
    ),
    "RC301": Entry(
        "the budget can't be met",
        "No model and number of tokens satisfy the budget, the target and the limits together.",
        "Change the value shown.",
    ),
    "RC302": Entry(
        "a limit is exceeded",
        "The plan costs more money, hours or devices than the recipe allows.",
        "Raise the limit or lower the budget, as shown.",
    ),
    "RC303": Entry(
        "the scaling law is stretched past its data",
        "Laws were fitted on a range of sizes and tokens per parameter; outside of it they promise too much (Sardana et al. 2024, section 4).",
        "Treat loss and optimum as rough, or give your own constants.",
    ),
    "RC304": Entry(
        "nothing says how long to train",
        "Neither `budget` nor `training.duration` fixes the number of tokens.",
        "Add for example `budget: {tokens: 20B tok}`.",
    ),
    "RC305": Entry(
        "checkpoints and failures eat the run",
        "Machines fail, and what was trained since the last checkpoint is done again. Too rare checkpoints lose much at each failure, too frequent ones cost more than they save; sqrt(2 x seconds to save x seconds between failures) loses least (Young 1974). Where failures come faster than steps and checkpoints, the run never ends.",
        "Write the interval shown, or leave it out: the plan then takes the best. A run that never ends needs fewer machines, shorter steps or a smaller model.",
    ),
    "RC306": Entry(
        "the scaling law can't be used",
        "Constants must make sense for language models: 125M parameters are compute-optimal for some 10^9 tokens. `budget.scaling_law.fit` names a CSV of runs with the columns parameters, tokens and loss (nats per token). Five constants need at least 8 runs, of 3 sizes and 3 numbers of tokens.",
        "Mend the line shown, or name a published fit.",
    ),
    "RC401": Entry(
        "a source has no data",
        "The pattern matches no file, or the files hold no document that can be used.",
        "Check the path; relative paths are looked up beside the recipe, then in the current folder.",
    ),
    "RC402": Entry(
        "the mixture names the wrong sources",
        "Every weight belongs to one of `data.sources`, and a source without weight in any knot would never be read, unless `evaluation.retention` measures what is forgotten of it.",
        "Name the sources as under `data.sources`, or delete the one that is not used.",
    ),
    "RC403": Entry(
        "the mixture's weights don't sum to 1",
        "Weights are shares of tokens. What sums to 0.9 is a typo as often as a habit, so it isn't rescaled.",
        "Write the weights shown.",
    ),
    "RC404": Entry(
        "the mixture's knots are out of order",
        "The first knot starts at 0dur and each one later than the one before it, within the run. A transition comes from the knot before it, so the first knot has none.",
        "Order the knots by `from`.",
    ),
    "RC405": Entry(
        "a source runs dry",
        "The plan draws more tokens of the source than its unique tokens times `max_epochs`. Past about 4 epochs repeated tokens teach less (Muennighoff et al. 2023).",
        "Lower the source's weight, raise `max_epochs`, or train on fewer tokens.",
    ),
    "RC406": Entry(
        "the tokenizer doesn't match",
        "The tokenizer's vocabulary is larger than the model's, or differs from the one that the plan was made with: token ids would be out of range or mean other words.",
        "Set `model.vocab_size` to at least the tokenizer's size, or leave it out.",
    ),
    "RC407": Entry(
        "a broken document",
        "A line of a JSONL file is not JSON, lacks the text column, or a file that should be text is binary.",
        "Mend or remove the line shown, or say `on_error: skip` for the source to leave such documents out, counted.",
    ),
    "RC408": Entry(
        "a corrupted shard",
        "The shard's size or hash is not what its index says: it was truncated, or changed after it was written.",
        "Delete the prepared folder shown and run again; for ready-made shards fetch them again.",
    ),
    "RC409": Entry(
        "the data changed",
        "`sha256` of the source pins its content, and the content found is another.",
        "Restore the data, or write the new hash.",
    ),
    "RC410": Entry(
        "the size of the source is not known",
        "A time in epochs (`ep`) needs the number of tokens in every source before anything runs.",
        "Give `tokens:` for each source, or write the duration in tok or ba.",
    ),
    "RC411": Entry(
        "ready-made shards don't fit",
        "The MDS column or its sequence length is not what the recipe says.",
        "Name the column with `tokens:` or `text:`, and give its sequence length as `data.sequence_length`.",
    ),
    "RC412": Entry(
        "domain upsampling doesn't fit the mixture",
        "It is the mixture's last knot, at the end of the run: no other knot may stand where it holds, and what it keeps of the general mix must be there to be kept.",
        "Change one of the lines shown, or write the last knot yourself under `data.mixture`.",
    ),
    "RC413": Entry(
        "domain upsampling outside of what was tried",
        "A last phase of 5 % to 30 % of a run, which kept 30 % of the general mix, lifted hard benchmarks (Blakeney et al. 2024, arXiv 2406.03476). Longer ones cost breadth, shorter ones do little, and a mix that jumps further is not known to work.",
        "Write the value shown, or leave it if you know better: this is a warning.",
    ),
    "RC414": Entry(
        "a source is read too little",
        "The mixture draws fewer tokens of the source than its `min_tokens`.",
        "Raise the source's weight, lower `min_tokens`, or train on more tokens.",
    ),
    "RC415": Entry(
        "a curriculum doesn't fit the run",
        "It orders samples from the first batch to its `duration`, within the run, by ranks of data that can be read at any place. A source that is read faster than its pool grows is ordered by rank alone from there on.",
        "Change the value shown.",
    ),
    "RC416": Entry(
        "classes that don't fit the model",
        "A classifier has one output for each class: there must be two at least, their number must be known before launch, and every label must be below it.",
        "Write `num_classes` under `model`, as many as the sources have.",
    ),
    "RC501": Entry(
        "unknown hardware",
        "Memory, speed and price can't be known for a device that the catalogue doesn't have.",
        "Choose one of the devices shown.",
    ),
    "RC502": Entry(
        "it doesn't fit into memory",
        "Even one sequence at a time needs more memory than a device has, by the estimate.",
        "Use more devices, activation checkpointing, a shorter sequence or a smaller model.",
    ),
    "RC503": Entry(
        "number formats that can't be had",
        "The device lacks the format, or formats, model and techniques of the recipe don't go together.",
        "Write the line shown.",
    ),
    "RC504": Entry(
        "the devices can't be laid out like this",
        "Sharding needs several GPUs, groups of equal size, and techniques that can work on parts of weights.",
        "Write the line shown, or leave `training.sharding` out: the plan then takes the fastest layout that fits.",
    ),
    "RC505": Entry(
        "the calibration can't be used",
        "`hardware.calibration` names a file that `recipec calibrate` writes: how much slower each part of a step runs on your cluster than in published runs. It is missing, damaged, or of another version.",
        "Write it again with `recipec calibrate runs.csv --out cluster.json`, or leave the key out.",
    ),
    "RC506": Entry(
        "the table of runs can't be used",
        "`recipec estimate` and `recipec calibrate` read a CSV table with a header; each row is a run: model, hardware, layout, batch (and, to calibrate, tokens_per_s_per_gpu). `calibrate` also reads the run_report.json of a finished run.",
        "Give a file with the columns shown; docs/estimates.md describes them.",
    ),
    "RC601": Entry(
        "another run holds the folder",
        "Two processes that train into one folder would overwrite each other's checkpoints.",
        "Wait for the other one, or stop it. A lock whose process is gone is taken over by itself.",
    ),
    "RC602": Entry(
        "the checkpoint belongs to another plan",
        "Batch, data order, model or seed differ, so going on would replay or skip data, or load weights into the wrong places.",
        "Run the plan that made the checkpoint, or start anew in a fresh folder. `recipec diff A B` says what differs.",
    ),
    "RC603": Entry(
        "a checkpoint is damaged",
        "Its files are not what its manifest says, or hold objects other than tensors and plain values.",
        "Delete the folder shown; the run goes on from the one before it.",
    ),
    "RC604": Entry(
        "the disk is full or can't be written",
        "What was being written has been removed; what was whole before is still there.",
        "Free space or choose another folder, then run the same command again.",
    ),
    "RC605": Entry(
        "the plan can't be read",
        "The plan is damaged, was edited (its fingerprint doesn't match), or is of another major format version.",
        "Compile the recipe again.",
    ),
    "RC606": Entry(
        "the run failed",
        "A step ended with an error of its own.",
        "Read the message above; finished steps and checkpoints are kept, and the same command goes on from there.",
    ),
    "RC607": Entry(
        "the environment lacks something",
        "A package, device or credential that the plan needs is not there.",
        "`recipec doctor` checks the environment and names each fix.",
    ),
    "RC608": Entry(
        "the run stopped at its cap",
        "What the training has spent, over all its sessions, is what `budget.max_cost` or `budget.max_hours` allows; it was saved before it stopped, and the exit code is 3. Or more processes were started than `budget.max_gpus` allows.",
        "Raise the cap as shown and run the recipe again: it goes on from the checkpoint, to the same last bit. Or keep what is saved.",
    ),
    "RC609": Entry(
        "the cache limit is too small",
        "Copies of remote shards may take `launch.cache_limit` bytes on each machine; the processes there must each be able to fetch one, packed and unpacked, while another is read.",
        "Set the limit shown, or more, or leave it out.",
    ),
    "RC610": Entry(
        "errors moved too unevenly between classes",
        "`evaluation.bias` compares the finished model with a reference class by class, and CEV or SDE is above the limit that the recipe sets: some classes pay for the compression more than others (Blakeney et al. 2021, arXiv 2110.04397). The model is kept in its checkpoints and measured in full, but not exported; the exit code is 3.",
        "Look at the table of classes in the report and at bias.svg. Compress less, distil from the reference, or raise the limit as shown.",
    ),
    "RC901": Entry(
        "a fault of recipec itself",
        "A pass left the plan in a state that its own checks refuse. Nothing that you wrote should lead here.",
        "Please report it with the recipe.",
    ),
    "RC902": Entry(
        "a run drew other data than planned",
        "Tokens per source are exact integers in the plan, and the finished run counted others: its order of samples is not the one promised. Nothing that you wrote should lead here.",
        "Please report it with plan.yaml and run_report.json. The model is kept; its mix is what the report says, not what the plan says.",
    ),
}
