"""What ``params.yaml`` may hold, as frozen dataclasses: every key with its type, default, range and meaning.

Sections are named like the stages of the pipeline. ``params`` reads and checks a file of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from skipw.checked import value
from skipw.gate_inputs import GATE_INPUTS

__all__ = ["DATASETS", "Evaluate", "Params", "SearchSettings", "TrainSettings"]

DATASETS = ("adding", "mnist", "imdb", "har")
MODELS = ("skipw", "thrrnn", "skiprnn", "dense", "random", "periodic")
BACKENDS = ("auto", "reference", "compact", "native", "triton")
CELLS = ("gru", "lstm", "fastgrnn")
SEARCHED = ("skipw", "thrrnn", "skiprnn")
SPACES = ("wide", "paper")
SAMPLERS = ("auto", "tpe", "nsga2", "random")
ACCELERATORS = ("cpu", "gpu", "auto")
SOURCES = ("auto", "official", "mirror", "registry", "substitute")
LARGEST_SEED = 2**32 - 1  # all generators of torch and numpy take it
RATES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class TrainSettings:
    """All that one training needs, as ``experiment_settings`` puts it together: recipe, then experiment.

    The first five fields say which experiment it is and stand in its entry; a recipe holds the others.
    """

    experiment: str  # its name, <dataset>-<suffix>
    dataset: str = value("adding", choices=DATASETS)
    model: str = value("skipw", choices=MODELS)
    init_from: str | None = None  # the experiment whose weights this one starts from (next smaller λ)
    start: str = ""  # the folder of init_from's model, else of the prepared data: what DVC waits for
    # The model.
    cell: str = value("gru", choices=CELLS)
    hidden_size: int = value(64, low=1)
    num_layers: int = value(1, low=1)
    head_hidden: int = value(0, low=0)  # width of a ReLU layer before the last linear one; 0 = none
    dropout: float = value(0.0, low=0.0, high=0.99)  # on the readout, before the head
    input_dropout: float = value(0.0, low=0.0, high=0.99)  # on single values of the inputs
    window: int | None = value(None, low=1)  # L, in inputs; only skipw reads it
    time_feature: str = value("steps", choices=("steps", "window", "since_update", "none"))
    time_scale: float = value(100.0, low=1e-6)  # what the time feature is divided by
    select: str = value("topk", choices=("topk", "sample", "random", "first", "last", "first_above"))
    bound: str = value(
        "aligned", choices=("aligned", "any")
    )  # which L inputs hold at most K (docs/any-window.md)
    initial_state: str = value("trainable", choices=("trainable", "zeros"))
    gate_state_gradient: float = value(1.0, low=0.0)  # scale of the gradient that gates send into the state
    # At the start of training; a list is repeated over the window's slots, other models take its first.
    gate_bias: float | tuple[float, ...] = value(1.0, low=-20.0, high=20.0, filled=True)
    # skipw: what its gates see beside state and time (docs/gates.md).
    gate_inputs: tuple[str, ...] = value((), choices=GATE_INPUTS)
    # skipw: how many windows of a sequence have biases of their own in the gate (docs/gates.md).
    gate_windows: int = value(0, low=0)
    # skipw: the largest budget of each further gate; ascending, below L (docs/budget-gates.md).
    gate_budgets: tuple[int, ...] = value((), low=1)
    # skipw: the largest K that the model is meant for; a larger one counts as this, also ever after (docs/anytime.md);
    # null = L.
    largest_budget: int | None = value(None, low=1)
    # The cost of an input.
    cost_per_input: float = value(0.0, low=0.0)  # λ
    # λ over the run: pairs (share of the run in [0, 1], factor on λ), linear between them.
    cost_schedule: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    # skipw: the largest K it trains at, and is validated at; null = largest_budget.
    budget: int | None = value(None, low=1)
    random_budget: float = value(0.0, low=0.0, high=1.0)  # skipw: share of batches that draw their K
    random_budget_from: float = value(0.0, low=0.0, high=1.0)  # share of the run after which that begins
    # K uniform, its logarithm, or one of the gates of ``gate_budgets`` and then one of its K.
    budget_draw: str = value("uniform", choices=("uniform", "log", "gates"))
    budget_range: tuple[int, int] | None = None  # smallest and largest K drawn; null = 1 to the largest
    random_threshold: tuple[float, float] | None = None  # a drawn K comes with a thr drawn from this range
    sandwich: bool = False  # a batch with a drawn K runs at the largest too, half the loss each
    # With sandwich, the share of the drawn K's loss that is the distance to the scores at the largest.
    distill: float = value(0.0, low=0.0, high=1.0)
    # The share of the task loss that is the distance to the scores of init_from's model instead, at which threshold it
    # runs (null = its own) and what scores are divided by before they are compared (docs/teacher.md).
    teacher: float = value(0.0, low=0.0, high=1.0)
    teacher_threshold: float | None = value(None, low=0.0, high=1.0)
    teacher_temperature: float = value(1.0, low=0.01, high=100.0)
    selection_gradient: str = value("identity", choices=("identity", "zero_sum", "soft"))  # through select_K
    selection_softness: float = value(0.1, low=1e-6)  # ε of "soft", in units of importance
    # The wanted share of the inputs at the largest K: λ is steered to it.
    target_inputs: float | None = value(None, low=1e-6, high=1.0)
    target_ramp: float = value(0.0, low=0.0, high=1.0)  # share of the run in which the target falls to that
    # skipw: the price, in units of λ, of an importance near the threshold; above λ it keeps gates from wavering there.
    gate_margin: float = value(0.0, low=0.0)
    gate_margin_width: float = value(0.25, low=1e-3, high=0.5)  # how near; 0.25 is 0.25 to 0.75
    gate_margin_from: float = value(0.0, low=0.0, high=1.0)  # share of the run after which that begins
    # skipw: the share of the inputs in a plan, the same ones of every sequence, at most ``budget`` of a window. Until
    # ``plan_until`` of the run they are processed, and gates learn to follow (docs/plans.md); null = no plan. With
    # ``gate_budgets`` a list of shares, a plan for each of the first so many of these gates; the others stay free.
    plan_inputs: float | tuple[float, ...] | None = value(None, low=1e-6, high=1.0, filled=True)
    plan_until: float = value(1.0, low=0.0, high=1.0)
    plan_weight: float = value(0.05, low=0.0)  # of the gates' disagreement with it, beside the task loss
    # gate_state_gradient of that disagreement; null = the same.
    plan_state_gradient: float | None = value(None, low=0.0)
    plan_updates: int = value(6000, low=1)  # how long it is looked for, in batches of 256
    # The share of the loss that a pass beside has, on random updates whose rate is drawn for each batch as the random
    # baseline is trained: gates decide nothing there and get no gradient (docs/random-updates.md).
    random_updates: float = value(0.0, low=0.0, high=0.99)
    # mnist: how far an image is moved (pixels), turned (degrees) and scaled (0.1 is 0.9 to 1.1) at most before it is
    # trained on; the share of the images that are changed at all.
    distort_shift: float = value(0.0, low=0.0, high=14.0)
    distort_angle: float = value(0.0, low=0.0, high=180.0)
    distort_scale: float = value(0.0, low=0.0, high=0.9)
    distort_share: float = value(1.0, low=0.0, high=1.0)
    # What is trained: the gates alone, everything but the gates, or (null) all of it; the rest stays as it came.
    train_only: str | None = value(None, choices=("gates", "cells"))
    # The optimiser (Adam) and the run.
    steps: int = value(2000, low=1)  # batches in all
    batch_size: int = value(64, low=1)  # sequences of a step, over all devices
    learning_rate: float = value(1e-3, low=1e-9, high=1.0)  # its peak
    schedule: str = value("cosine", choices=("cosine", "constant", "exponential"))
    warmup: float = value(0.0, low=0.0, high=0.99)  # share of the run in which the rate rises linearly
    final_learning_rate: float = value(0.0, low=0.0, high=1.0)  # cosine: its end, as a share of the peak
    decay_rate: float = value(0.96, low=1e-6, high=1.0)  # exponential: factor per decay_samples
    decay_samples: int = value(100_000, low=1)  # exponential: sequences trained on
    weight_decay: float = value(0.0, low=0.0)
    label_smoothing: float = value(0.0, low=0.0, high=0.99)  # classification only
    clip: float | None = value(1.0, low=1e-9)  # largest global norm of the gradient; null = no clipping
    average: float | None = value(None, low=0.0, high=0.99999)  # decay of a mean of the weights; null = none
    val_every: int = value(250, low=1)  # steps between validations
    eval_batch_size: int = value(500, low=1)  # sequences that a device holds at once in a validation
    rollbacks: int = value(0, low=0)  # how often gates that have shut are taken back to the validation before
    patience: int | None = value(None, low=1)  # validations without a better loss; null = never stop
    checkpoint_from: float = value(0.0, low=0.0, high=1.0)  # share of the run before which none is kept
    train_limit: int | None = value(None, low=1)  # use only the first so many sequences; null = all
    val_limit: int | None = value(None, low=1)
    seed: int = value(0, low=0, high=LARGEST_SEED)
    num_threads: int = value(1, low=1)  # of each process
    backend: str = value("auto", choices=BACKENDS)
    # Where it runs (docs/scaling.md). A GPU is an NVIDIA one; auto takes it where there is one.
    accelerator: str = value("cpu", choices=ACCELERATORS)
    devices: int = value(1, low=1)  # processes, each on its own device with batch_size / devices sequences

    @property
    def trained(self) -> bool:
        """False for ``<dataset>-periodic``, which evaluates the model of ``<dataset>-random``."""
        return self.model != "periodic"

    @property
    def trained_budget(self) -> int | None:
        """The largest K that the training runs at; None for models without a window."""
        return self.budget or self.largest_budget or self.window if self.model == "skipw" else None

    @property
    def distorts(self) -> bool:
        """Whether images are changed before they are trained on."""
        return bool(self.distort_shift or self.distort_angle or self.distort_scale)


@dataclass(frozen=True)
class Source:
    """Where a data set may come from; ``auto`` tries every place in order, a substitute last."""

    source: str = value("auto", choices=SOURCES)


@dataclass(frozen=True)
class ImdbSource(Source):
    glove_dimension: int = value(100, choices=(50, 100, 200, 300))


@dataclass(frozen=True)
class HarSource(Source):
    folder: str | None = None  # any data set in the HAR text format takes har's place


@dataclass(frozen=True)
class Download:
    adding: Source = Source()
    mnist: Source = Source()
    imdb: ImdbSource = ImdbSource()
    har: HarSource = HarSource()


@dataclass(frozen=True)
class PrepareAdding:
    num_steps: int = value(50, low=10)  # T
    train: int = value(200_000, low=1)  # sequences
    val: int = value(10_000, low=1)
    test: int = value(100_000, low=1)  # a multiple of 125 is balanced over all marker pairs at T = 50


@dataclass(frozen=True)
class PrepareMnist:
    image_size: int = value(28, low=1, high=28)  # pixels a side; T is its square
    val: int = value(5000, low=1)  # images carved out of the training set
    train_limit: int | None = value(None, low=1)
    test_limit: int | None = value(None, low=1)


@dataclass(frozen=True)
class PrepareImdb:
    vocabulary_size: int = value(20_000, low=2)
    max_length: int = value(200, low=1)  # tokens
    crop: str = value("last", choices=("last", "first"))  # the part of a longer review that stays
    val_share: float = value(0.15, low=0.001, high=0.9)  # of the training reviews
    train_limit: int | None = value(None, low=2)
    test_limit: int | None = value(None, low=2)


@dataclass(frozen=True)
class PrepareHar:
    val_share: float = value(0.15, low=0.001, high=0.9)  # of the recordings
    normaliser: str = value("pose", choices=("pose", "standard", "none"))
    train_limit: int | None = value(None, low=1)  # recordings
    test_limit: int | None = value(None, low=1)


@dataclass(frozen=True)
class Prepare:
    seed: int = value(0, low=0, high=LARGEST_SEED)
    adding: PrepareAdding = PrepareAdding()
    mnist: PrepareMnist = PrepareMnist()
    imdb: PrepareImdb = PrepareImdb()
    har: PrepareHar = PrepareHar()


@dataclass(frozen=True)
class Thresholds:
    skipw: tuple[float, ...] = value((0.5,), low=0.0, high=1.0, filled=True)
    thrrnn: tuple[float, ...] = value((0.5, 0.6, 0.7, 0.8, 0.9), low=0.0, high=1.0, filled=True)


@dataclass(frozen=True)
class Evaluations:
    adding: int = value(100, low=1)  # random masks drawn for each rate
    default: int = value(50, low=1)


@dataclass(frozen=True)
class Sampling:
    rates: tuple[float, ...] = value(
        RATES, low=0.0, high=1.0, filled=True
    )  # shares of inputs that random and periodic take
    evaluations: Evaluations = Evaluations()
    sequences: int | None = value(2000, low=1)  # that random is evaluated on; null = all


@dataclass(frozen=True)
class SearchSettings:
    """A study of one data set: how many trials, of what, how long each."""

    trials: int = value(20, low=1)  # finished ones wanted in all; a re-run adds what is missing
    epochs: float = value(1.0, low=1e-6)  # passes over the training sequences a trial; 0.5 is half a pass
    space: str = value("wide", choices=SPACES)
    models: tuple[str, ...] = value(SEARCHED, choices=SEARCHED)
    cells: tuple[str, ...] = value(("gru", "lstm"), choices=CELLS)  # of the space wide
    sampler: str = value("auto", choices=SAMPLERS)  # auto: TPE up to 200 trials, NSGA-II beyond
    warm_start: bool = True  # a trial may start from a finished one of the same shape with a smaller λ
    from_recipe: bool = True  # the first trials take the recipe's values (SkipRNN's only without ThrRNN)
    stop_early: bool = True  # trials without hope end before their last step
    validations: int = value(10, low=2)  # a trial
    val_limit: int | None = value(2000, low=1)  # sequences that trials are judged on; null = all
    test_limit: int | None = value(None, low=1)  # sequences that the front's trials are reported on
    seed: int = value(0, low=0, high=LARGEST_SEED)
    workers: int = value(1, low=1)  # trials side by side, one thread each


@dataclass(frozen=True)
class Search:
    adding: SearchSettings = SearchSettings()
    mnist: SearchSettings = SearchSettings()
    imdb: SearchSettings = SearchSettings()
    har: SearchSettings = SearchSettings()


@dataclass(frozen=True)
class Evaluate:
    thresholds: Thresholds = Thresholds()
    cross: bool = False  # SkipW: every K at thr 0.5 and every thr at K = L, instead of each with each
    batch_size: int = value(500, low=1)
    val_limit: int | None = value(None, low=1)
    test_limit: int | None = value(None, low=1)
    random: Sampling = Sampling()
    num_threads: int = value(1, low=1)
    seed: int = value(0, low=0, high=LARGEST_SEED)
    backend: str = value("auto", choices=BACKENDS)


@dataclass(frozen=True)
class Pareto:
    min_gain: float = value(
        0.0, low=0.0
    )  # how much better than the constant predictor a point must be on val


@dataclass(frozen=True)
class Register:
    example_sequences: int = value(2, low=1)  # in the input example that is logged with each version


@dataclass(frozen=True)
class Report:
    title: str = "SkipW"


@dataclass(frozen=True)
class Reproduce:
    """The analyses of the paper's experiments."""

    sequences: int | None = value(10_000, low=1)  # test sequences that models are run on; null = all
    batch_size: int = value(500, low=1)
    num_threads: int = value(1, low=1)


@dataclass(frozen=True)
class Results:
    """The report on the paper's experiments."""

    title: str = "The paper reproduced"


@dataclass(frozen=True)
class Train:
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Params:
    """A whole, checked file of settings."""

    scale: str = value("laptop", choices=("laptop", "paper", "tiny"))  # the MLflow tag ``scale``
    download: Download = Download()
    prepare: Prepare = Prepare()
    train: Train = Train()
    search: Search = Search()
    evaluate: Evaluate = Evaluate()
    pareto: Pareto = Pareto()
    register: Register = Register()
    report: Report = Report()
    reproduce: Reproduce = Reproduce()
    results: Results = Results()
