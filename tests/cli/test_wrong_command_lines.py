"""Wrong command lines, word for word: a sentence with the right hint, exit code 2, nothing written."""

import shlex
from pathlib import Path

import pytest

SIX = "model=lenet6 optimizer.lr=abc data.batchsize=3 seed=-1 trainer.max_steps=0 +typo=1 data=mnist"
TWO = "data.tasks=0.5 optimizer.lr=-1"
FOUR = "model=mlp model.hidden=abc model.dropout=x optimizer.betas=[2] loss.label_smoothing=q"
# Each found although another keeps its object from being made.
SEED = "data=iris model=mlp seed=abc data.batch_size=0"
PROFILER = "data=iris model=mlp trainer.profiler=nope trainer.overfit_batches=-1"
ANNEAL = "data=iris model=mlp scheduler=onecycle scheduler.pct_start=2 scheduler.anneal_strategy=foo"
KEEP = "callbacks.checkpoint.keep_last=0 callbacks.checkpoint.every_n_steps=0 callbacks.checkpoint.every_n_minutes=nan"
MISTAKES = {TWO: 2, SIX: 6, FOUR: 4, SEED: 2, PROFILER: 2, ANNEAL: 2, KEEP: 3}

# What is typed after `nnkit train`, and what the answer must say.
LINES = [
    # options and groups
    ("model=lenet6", ["model: there is no model=lenet6", "did you mean model=lenet5?"]),
    ("data=mnits", ["did you mean data=mnist?"]),
    ("dtaa=mnist", ["dtaa: there is no such key", "did you mean data=mnist?"]),
    ("optimizer=adamm", ["did you mean optimizer=adam?"]),
    ("scheduler=cosin", ["did you mean scheduler=cosine?"]),
    ("loss=mse_", ["did you mean loss=mse?"]),
    ("experiment=lenet_mnist", ["did you mean experiment=lenet5_mnist?"]),
    ("callbacks=[chekpoint]", ["did you mean callbacks=[checkpoint]?"]),
    (
        "callbacks=[checkpoint,progres,ema]",
        ["no callbacks=progres", "did you mean callbacks=[checkpoint,progress,ema]?"],
    ),
    ("+callbacks=emaa", ["did you mean +callbacks=ema?"]),
    ("model=qqq", ["no model=qqq", "there is: bert, bert_base, ", "lenet5"]),
    ("model=null", ["model: cannot be null", "lenet5"]),
    ("callbacks=null", ["callbacks=[] is none at all"]),
    ("~model", ["model: cannot be deleted"]),
    ("~callbacks=ema", ["~callbacks.NAME leaves one out"]),
    ("model=[lenet5,mlp]", ["model: takes one option"]),
    ("model=lenet5,mlp", ["several values", "nnkit train -m model=lenet5,mlp"]),
    ("optimizer.lr=1e-3,3e-3", ["several values", "nnkit train -m"]),
    ("+model=mlp", ["did you mean model=mlp?"]),
    ("model=mlp model=cnn", ["model: is chosen twice, mlp and cnn", "model=mlp or model=cnn"]),
    ("callbacks=[ema] callbacks=[checkpoint]", ["callbacks: is chosen twice", "callbacks=[A,B]"]),
    ("+experiment=lenet5_mnist", ["did you mean experiment=lenet5_mnist?"]),
    ("model@body=mlp", ["cannot be put under another key"]),
    ("hydra.run.dir=/tmp/x", ["hydra.run.dir: has no effect", "output_dir="]),
    # keys
    ("lr=1e-3", ["lr: there is no such key", "did you mean optimizer.lr=1e-3?"]),
    ("batch_size=32", ["did you mean data.batch_size=32?"]),
    ("max_epochs=3", ["did you mean trainer.max_epochs=3?"]),
    ("data.batchsize=3", ["did you mean data.batch_size=3?"]),
    ("trainer.max_epoch=3", ["did you mean trainer.max_epochs=3?"]),
    ("optimzer.lr=3", ["did you mean optimizer.lr=3?"]),
    ("optimizer.batch_size=3", ["did you mean data.batch_size=3?"]),
    ("model.hiden=[3] model=mlp", ["did you mean model.hidden=[3]?"]),
    (
        "model.frobnicate=3",
        ["there is no such key", "model has: activation, pooling, dropout", "+model.frobnicate=3"],
    ),
    ("+typo=1", ["typo: there is no such key"]),
    ("+seeed=1", ["did you mean seed=1?"]),
    ("+model.poolin=max", ["LeNet5 takes no such argument", "did you mean model.pooling?"]),
    ("+optimizer.params=[1]", ["optimizer.params: is given by nnkit itself"]),
    ("+trainer.logger=true", ["trainer.logger: is given by nnkit itself"]),
    ("~optimizer.lrr", ["did you mean ~optimizer.lr?"]),
    ("~seed", ["seed: cannot be added or deleted"]),
    ("fit.total_steps=10", ["fit.total_steps: is filled in by nnkit"]),
    # references to nothing, each named once and nothing else with it
    ("'optimizer.lr=${nothing}'", ["optimizer.lr: cannot be filled in", "'nothing' not found"]),
    ("'trainer.max_epochs=${oc.env:NO_SUCH_VARIABLE}'", ["trainer.max_epochs: cannot be filled in"]),
    ("'callbacks.progress=${nothing}'", ["callbacks.progress: cannot be filled in"]),
    ("'data.kind=${nothing}'", ["data.kind: cannot be filled in"]),
    ("'head.fits=[${nothing}]'", ["head.fits: cannot be filled in"]),
    ("'seed=${seed}'", ["seed: cannot be filled in"]),
    ("name=???", ["name: must be given"]),
    # words that are no overrides
    ("lenet5", ["'lenet5' is not of the form key=value"]),
    ("model.hidden=[300,100 model=mlp", ["model.hidden: cannot read [300,100", "quote it twice"]),
    # types
    ("optimizer.lr=abc", ["optimizer.lr: must be a number, not 'abc'"]),
    ("model=mlp model.hidden=abc", ["model.hidden: must be a list of whole numbers, not 'abc'"]),
    ("model=mlp model.hidden=[3,a]", ["model.hidden: must be a list of whole numbers"]),
    ("model=mlp model.hidden={a:1}", ["model.hidden: cannot be {a:1}: it holds a list"]),
    ("optimizer.betas=[0.9]", ["optimizer.betas: must be a list of 2 numbers"]),
    ("optimizer.amsgrad=3", ["optimizer.amsgrad: must be true or false"]),
    ("data.batch_size=true", ["data.batch_size: must be a whole number, not True"]),
    ("trainer.max_steps=1e3", ["trainer.max_steps: must be a whole number", "trainer.max_steps=1000"]),
    ("trainer.precision=fp16x", ["trainer.precision: must be auto, fastest or one of", "bf16-mixed"]),
    ("model.pooling=maxx", ["model.pooling: must be one of max, average", "did you mean model.pooling=max?"]),
    ("seed=abc", ["seed: must be a whole number", "not 'abc'"]),
    ("seed=-1", ["seed: must be a whole number", "not -1"]),
    ("seed=4294967296", ["seed: must be a whole number"]),
    ("callbacks.progress=3", ["callbacks.progress: must hold keys", "~callbacks.progress leaves it out"]),
    # ranges
    ("optimizer.lr=-1", ["optimizer.lr: Invalid learning rate: -1"]),
    ("optimizer.betas=[0.9,2.0]", ["optimizer.betas: Invalid beta parameter at index 1: 2.0"]),
    ("optimizer.eps=-1", ["optimizer.eps: Invalid epsilon value: -1"]),
    ("optimizer=sgd optimizer.momentum=0", ["Nesterov momentum requires a momentum"]),
    ("model=mlp model.dropout=2", ["model.dropout: dropout must lie in [0, 1), not 2"]),
    ("model=mlp model.activation=reluu", ["model.activation", "relu"]),
    ("data.batch_size=0", ["data.batch_size: batch_size must be at least 1, not 0"]),
    (
        "loss=cross_entropy loss.label_smoothing=2",
        ["loss.label_smoothing: label_smoothing must lie in [0, 1]"],
    ),
    ("loss=mse loss.reduction=avg data=diabetes", ["loss.reduction: avg is not a valid value"]),
    ("scheduler.pct_start=3", ["scheduler.pct_start", "3"]),
    ("trainer.max_steps=0", ["trainer.max_steps: must be at least 1, or -1 for no limit, not 0"]),
    ("trainer.max_epochs=-5", ["trainer.max_epochs: must be at least 1, or -1 for no limit, not -5"]),
    ("trainer.max_epochs=-1", ["trainer.max_epochs: nothing ends the training", "max_time="]),
    (
        "trainer.max_epochs=-1 trainer.max_time=00:00:01:00",
        ["scheduler: this schedule needs the number of steps"],
    ),
    ("trainer.max_time=5min", ["trainer.max_time: must be days:hours:minutes:seconds", "00:00:10:00"]),
    ("data.batch_size=99999999999999999999", ["data.batch_size: must be a whole number"]),
    ("data.num_workers=5000", ["data.num_workers: must be at most 1024, not 5000"]),
    (
        "data=iris data.num_classes=99999999999",
        ["data.num_classes: must be a whole number from 1 to 10000000"],
    ),
    ("data=csv", ["data.path: path must name a table"]),
    (
        "data=iris loss.class_weights=[1,2]",
        ["loss.class_weights: must hold one number for each of the 3 classes, not 2"],
    ),
    ("data=iris loss=focal loss.class_weights=[1,2,3,4]", ["loss.class_weights: must hold one number"]),
    ("trainer.devices=0", ["trainer.devices: must be auto, a count"]),
    ("trainer.accelerator=gpuu", ["did you mean trainer.accelerator=gpu?"]),
    ("trainer.num_threads=0", ["trainer.num_threads: must be from 1 to 1024"]),
    ("trainer.matmul_precision=hi", ["highest, high or medium"]),
    ("trainer.gradient_clip_val=-1", ["trainer.gradient_clip_val: must be at least 0"]),
    ("trainer.accumulate_grad_batches=0", ["trainer.accumulate_grad_batches: must be at least 1"]),
    ("trainer.limit_train_batches=0", ["no batch is left to train on"]),
    ("trainer.limit_val_batches=1.5", ["trainer.limit_val_batches: must be a share"]),
    ("name=a/b", ["name: must be the plain name of a directory, not 'a/b'", "output_dir="]),
    ("name=..", ["name: must be the plain name"]),
    ("name=last", ["name: must be the plain name"]),
    ("name=", ["name: must be the plain name of a directory, not ''"]),
    ("output_dir=", ["output_dir: must be the path of a directory"]),
    # what does not go together
    (
        "model=lenet5 data=iris",
        ["model=lenet5 does not take data=iris (kind table)", "models that take table: ", "mlp"],
    ),
    (
        "head=regressor data=mnist",
        ["head=regressor serves regression and forecasting, and the task is classification"],
    ),
    ("data=diabetes loss=cross_entropy", ["cross_entropy scores class indices", "gives real values"]),
    (
        "data=diabetes task=classification",
        ["task: data=diabetes serves regression, not classification", "leave task= out"],
    ),
    ("monitor=val/acc", ["monitor: the task logs no val/acc", "did you mean monitor=val/accuracy?"]),
    ("+callbacks=early_stopping callbacks.early_stopping.monitor=val/los", ["the task logs no val/los"]),
    ("optimizer=adagrad scheduler.cycle_momentum=true", ["scheduler.cycle_momentum"]),
    # classes
    ("model._target_=os.system", ["model._target_: os.system is outside the packages that a config may use"]),
    ("optimizer._target_=torch.optim.AdmW", ["did you mean torch.optim.AdamW?"]),
    ("loss._target_=torch.optim.AdamW", ["torch.optim.AdamW is no Module"]),
    ("model._target_=mine.Mixer", ["NNKIT_TRUST=mine nnkit"]),
    # keys that Hydra's grammar cannot read, and keys below what holds none
    ("trainer.max_épochs=1", ["max_épochs: there is no such key", "did you mean trainer.max_epochs=1?"]),
    ("'trainer.größe=[ä,ö]'", ["trainer.größe: there is no such key"]),
    ("data/x.y=1", ["data/x.y: there is no such key"]),
    ("+optimizer.betas.x=1", ["optimizer.betas is a list, which is set as a whole", "optimizer.betas=[...]"]),
    ("+optimizer.betas.2=1", ["optimizer.betas is a list"]),
    ("~optimizer.betas.0", ["optimizer.betas is a list"]),
    ("+optimizer.lr.x=1", ["optimizer.lr is one value, and nothing can be put below it"]),
    # keys that nnkit itself reads
    ("data.tasks=0.5", ["data.tasks: must be a list of tasks, not 0.5"]),
    ("'data.tasks=${oc.env:NOPE}'", ["data.tasks: cannot be filled in", "NOPE"]),
    ("'data.tasks=${hydra:runtime.cwd}'", ["data.tasks: cannot be filled in"]),
    (TWO, ["data.tasks: must be a list of tasks, not 0.5", "optimizer.lr: "]),
    ("data.max_epochs=[1]", ["data.max_epochs: must be a whole number, or -1 for no limit, not [1]"]),
    # facts of the data
    ("data=digits head.num_classes=2", ["head.num_classes: 2 was given, the data have 10", "leave it out"]),
    ("data=digits data.num_classes=2", ["data.num_classes: 2 was given, the data have 10", "leave it out"]),
    (
        "data=pydocs model=gpt model.embeds.tokens.vocab_size=3",
        ["model.embeds.tokens.vocab_size: 3 was given, the data say it", "leave it out"],
    ),
    (
        "data=iris model=mlp model.embeds.table.num_features=3",
        ["model.embeds.table.num_features: 3 was given, the data have 4"],
    ),
    # homes of nobody
    ("output_dir=~nosuchuser", ["output_dir: ~nosuchuser: there is no user 'nosuchuser'", "./~nosuchuser"]),
    ("data=csv data.path=~nosuchuser/x.csv data.target=a", ["there is no user 'nosuchuser'"]),
    # what only the network tells
    ("data=digits model=mlp scheduler.max_lr=[1]", ["scheduler.max_lr: max_lr must have the same length as"]),
    (
        "data=digits ~data.height",
        ["data.height: is a fact about the data and must be listed", "+data.height=null"],
    ),
    # what only Lightning's Trainer knows
    ("trainer.gradient_clip_algorithm=foo", ["trainer.gradient_clip_algorithm: ", "'value', 'norm'"]),
    ("trainer.profiler=foo", ["trainer.profiler: ", "simple"]),
    ("trainer.strategy=foo", ["trainer.strategy: ", "ddp"]),
    ("trainer.strategy=single trainer.devices=2", ["trainer.strategy: single is one device"]),
    ("trainer.sync_batchnorm=true trainer.accelerator=cpu", ["trainer.sync_batchnorm: ", "on GPUs only"]),
    ("trainer.num_nodes=0", ["trainer.num_nodes: must be a count of machines"]),
    ("trainer.num_nodes=2", ["trainer.num_nodes: 2 machines train together where torchrun"]),
    (
        "trainer.val_check_interval={}",
        ["val_check_interval: must be a share from 0.0 to 1.0 or a count, not {}"],
    ),
    (
        "trainer.val_check_interval=0",
        ["trainer.val_check_interval: must be above 0.0", "limit_val_batches=0"],
    ),
    ("trainer.val_check_interval=00:15:00", ["must be a share from 0.0 to 1.0 or a count, not '00:15:00'"]),
    # more than this machine has
    ("trainer.devices=300 trainer.accelerator=cpu", ["trainer.devices: 300 processes are too many for the"]),
    (
        "trainer.devices='300' trainer.accelerator=cpu",
        ["trainer.devices: 300 processes are too many for the"],
    ),
    # numbers that are none
    ("optimizer=sgd optimizer.momentum=nan", ["optimizer.momentum: must be finite, not nan"]),
    ("scheduler.max_lr=nan", ["scheduler.max_lr: must be finite, not nan"]),
    ("optimizer.betas=[0.9,nan]", ["optimizer.betas: must be finite, not [0.9, nan]"]),
    ("optimizer.weight_decay=inf", ["optimizer.weight_decay: must be finite, not inf"]),
    ("+callbacks=ema callbacks.ema.decay=nan", ["callbacks.ema.decay: must be finite"]),
    (
        "+callbacks=early_stopping callbacks.early_stopping.min_delta=nan",
        ["early_stopping.min_delta: must be"],
    ),
    ("callbacks.checkpoint.every_n_minutes=nan", ["callbacks.checkpoint.every_n_minutes: must be finite"]),
    ("trainer.overfit_batches=nan", ["trainer.overfit_batches: must be"]),
    # several at once: each one named
    (
        SIX,
        ["model=lenet5?", "optimizer.lr: ", "data.batch_size=3?", "seed: ", "trainer.max_steps: ", "typo: "],
    ),
    (FOUR, ["model.hidden: ", "model.dropout: ", "optimizer.betas: ", "loss.label_smoothing: "]),
    (SEED, ["seed: must be a whole number", "data.batch_size: batch_size must be at least 1"]),
    (PROFILER, ["trainer.profiler: ", "trainer.overfit_batches: must be"]),
    (
        ANNEAL,
        ["scheduler.pct_start: Expected float between 0 and 1", "scheduler.anneal_strategy: must be one of"],
    ),
    (KEEP, [f"checkpoint.{name}: " for name in ("keep_last", "every_n_steps", "every_n_minutes")]),
    # a schedule that ends, or divides by zero, in the midst of the run
    (
        "data=iris model=mlp scheduler=step scheduler.step_size=0",
        ["scheduler: it divides by zero, and these are 0: step_size"],
    ),
    ("data=iris model=mlp scheduler=cosine scheduler.T_max=0", ["scheduler: it divides by zero", "T_max"]),
    (
        "data=iris model=mlp scheduler=constant scheduler.factor=0",
        ["scheduler: it divides by zero", "factor"],
    ),
    (
        "data=iris model=mlp scheduler=onecycle trainer.max_steps=3 scheduler.total_steps=2",
        ["scheduler: total_steps must be at least the 3 steps of the run, not 2"],
    ),
    # what Lightning or torch would say with a traceback, or not at all
    (
        "trainer.strategy=ddp_notebook",
        ["trainer.strategy: ddp_notebook copies this process", "strategy=auto"],
    ),
    ("trainer.strategy=ddp_spawn", ["trainer.strategy: ddp_spawn copies this process"]),
    ("trainer.strategy=xla", ["trainer"]),
    ("trainer.precision=transformer-engine", ["transformer_engine"]),
    ("trainer.max_time=99999999999999:00:00:00", ["trainer"]),
    ("'trainer.max_time={hours:-1}'", ["trainer.max_time: must be a time above zero, not {'hours': -1}"]),
    ("+trainer.barebones=true", ["trainer.barebones: switches off checkpoints"]),
    ("+optimizer.differentiable=true", ["optimizer: "]),
    (
        "+callbacks.t._target_=lightning.pytorch.callbacks.RichModelSummary +callbacks.t.max_depth=-7",
        ["callbacks.t.max_depth: must be at least -1, not -7"],
    ),
    (
        "+callbacks.t._target_=lightning.pytorch.callbacks.EarlyStopping +callbacks.t.monitor=val/loss"
        " +callbacks.t.patience=-3",
        ["callbacks.t.patience: must be at least 0, not -3"],
    ),
]


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[line for line, _ in LINES])
def test_a_wrong_command_line_is_answered(line, expected, cli):
    code, out, err = cli("train", *shlex.split(line))
    assert code == 2
    for text in expected:
        assert text in err
    assert "Traceback" not in err
    # What follows from a mistake is not a mistake of its own.
    sentences = [row for row in err.splitlines() if not row.startswith(" ")]
    assert len(sentences) == MISTAKES.get(line, 1)
    assert out == ""
    assert list(Path.cwd().iterdir()) == []


def test_there_are_enough_of_them():
    assert len({line for line, _ in LINES}) == len(LINES) >= 30


def test_a_constructor_that_stops_at_its_first_mistake_hides_no_other(cli):
    words = ["model=lenet5", "data=mnist", "model.dropout=2", "data.batch_size=0", "data.val_fraction=3"]
    code, _, err = cli(
        "train", *words, "data.augment.rotate=-3", "optimizer.lr=-1", "optimizer.weight_decay=-2"
    )
    assert code == 2
    for key in (
        "model.dropout",
        "data.batch_size",
        "data.val_fraction",
        "augment.rotate",
        "optimizer.lr",
        "weight_decay",
    ):
        assert key in err
