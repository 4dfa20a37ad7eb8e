"""Genomes drawn at random against definitions written out the slow way; and published sizes and costs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from search_spaces import Architecture, Choice, Gene, Genome, get_space
from search_spaces.common.errors import UserError

quick = settings(max_examples=60, deadline=None)


@st.composite
def parts(draw) -> tuple[list[Choice], list[Gene]]:
    """Choices and genes of every shape the class takes: scalars and lists, children of children, coupled genes whose
    choices hang on each other or on an earlier gene. Options may coincide.
    """
    choices: list[Choice] = []
    genes: list[Gene] = []
    mains: list[tuple[str, tuple[int, ...]]] = []  # the first choice of each gene, which is on when its gene is
    listed = itertools.count()

    def choice(parent: str | None, active_for: tuple[int, ...]) -> str:
        in_list = draw(st.booleans())
        group, index = ("list", next(listed)) if in_list else (f"one{len(choices)}", None)
        choices.append(Choice(group, index, parent, active_for))
        return choices[-1].name

    def some(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(draw(st.sets(st.sampled_from([*values, 9]), min_size=1)))

    for number in range(draw(st.integers(1, 5))):
        num_options = draw(st.integers(1, 3))
        values = st.lists(st.integers(1, 4), min_size=num_options, max_size=num_options).map(tuple)
        parent, active_for = None, ()
        if mains and draw(st.booleans()):
            parent, on = draw(st.sampled_from(mains))
            active_for = some(on)
        main = choice(parent, active_for)
        drives = [(main, draw(values))]
        if draw(st.booleans()):
            inner = draw(st.booleans())
            second = choice(main, some(drives[0][1])) if inner else choice(parent, active_for)
            drives.append((second, draw(values)))
        genes.append(Gene(f"gene{number}", tuple(f"option{i}" for i in range(num_options)), tuple(drives)))
        mains.append(drives[0])
    return choices, genes


@st.composite
def genomes(draw) -> Genome:
    choices, genes = draw(parts())
    assume(not repeats(choices, genes))
    return Genome(choices, genes)


def entries(choices: list[Choice], genes: list[Gene], options: tuple[int, ...]) -> dict[str, int | None]:
    """Choice name -> value, None where switched off: the definition."""
    value = {name: vs[option] for gene, option in zip(genes, options, strict=True) for name, vs in gene.drives}
    out: dict[str, int | None] = {}
    for choice in choices:
        on = choice.parent is None or out[choice.parent] in choice.active_for
        out[choice.name] = value[choice.name] if on else None
    return out


def mixes(genes: list[Gene]) -> itertools.product[tuple[int, ...]]:
    return itertools.product(*(range(len(gene.options)) for gene in genes))


def repeats(choices: list[Choice], genes: list[Gene]) -> bool:
    """Whether, somewhere, two options of a gene that is on give the same network."""
    for options in mixes(genes):
        here = entries(choices, genes, options)
        for number, gene in enumerate(genes):
            if any(here[name] is not None for name, _ in gene.drives):
                for other in range(options[number]):
                    if entries(choices, genes, (*options[:number], other, *options[number + 1 :])) == here:
                        return True
    return False


def random_rows(genome: Genome, num: int, seed: int) -> np.ndarray:
    """Any rows, canonical or not."""
    return np.random.default_rng(seed).integers(genome.num_options, size=(num, len(genome.genes)))


def rows_in_range(genome: Genome, rows: np.ndarray) -> bool:
    return bool(((rows >= 0) & (rows < genome.num_options)).all()) and np.array_equal(genome.canonical(rows), rows)


@quick
@given(parts())
def test_equal_options_are_refused_and_only_these(given_parts):
    choices, genes = given_parts
    if repeats(choices, genes):
        with pytest.raises(UserError, match="are the same network"):
            Genome(choices, genes)
    else:
        Genome(choices, genes)


@quick
@given(genomes())
def test_size_is_the_number_of_networks(genome):
    choices, genes = list(genome.choices.values()), list(genome.genes)
    rows = genome.enumerate()
    distinct = {tuple(entries(choices, genes, options).items()) for options in mixes(genes)}
    assert genome.size == len(rows) == len(distinct) == len({tuple(row) for row in rows})
    assert rows_in_range(genome, rows)
    listed = genome.decode(rows)
    assert len(set(listed)) == genome.size
    flat = {tuple(flatten(genome, architecture).items()) for architecture in listed}
    assert flat == distinct


def flatten(genome: Genome, architecture: Architecture) -> dict[str, int | None]:
    values = {}
    for name, choice in genome.choices.items():
        value = architecture.values[choice.group]
        values[name] = value if choice.index is None else value[choice.index]
    return values


@quick
@given(genomes(), st.integers(0, 2**32 - 1))
def test_canonical_form(genome, seed):
    rows = random_rows(genome, 30, seed)
    canonical = genome.canonical(rows)
    assert np.array_equal(genome.canonical(canonical), canonical)
    assert genome.decode(canonical) == genome.decode(rows)
    assert (canonical[~genome.active(rows)] == 0).all()
    choices, genes = list(genome.choices.values()), list(genome.genes)
    for row, active in zip(rows, genome.active(rows), strict=True):
        value = entries(choices, genes, tuple(row))
        assert active.tolist() == [any(value[name] is not None for name, _ in gene.drives) for gene in genes]


@quick
@given(genomes(), st.integers(0, 2**32 - 1))
def test_encoding_reverses_decoding(genome, seed):
    rows = genome.sample(20, np.random.default_rng(seed))
    architectures = genome.decode(rows)
    assert np.array_equal(genome.encode(architectures), rows)
    columns = genome.one_hot(rows)
    assert columns.shape == (20, genome.num_options.sum())
    assert np.array_equal(columns.sum(1), genome.active(rows).sum(1))
    assert len(np.unique(columns, axis=0)) == len(np.unique(rows, axis=0)) == len(set(architectures))


@quick
@given(genomes(), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_variation_stays_canonical_and_in_range(genome, seed, rate):
    rng = np.random.default_rng(seed)
    first, second = genome.sample(20, rng), genome.sample(20, rng, uniform=False)
    assert rows_in_range(genome, first)
    assert rows_in_range(genome, second)
    assert rows_in_range(genome, genome.mutate(first, rng, rate))
    assert np.array_equal(genome.mutate(first, rng, 0.0), first)
    assert np.array_equal(genome.crossover(first, first, rng), first)
    child = genome.crossover(first, second, rng)
    assert rows_in_range(genome, child)
    assert ((child == first) | (child == second) | ~genome.active(child)).all()
    changed = genome.mutate(first, rng, 1.0)
    always_on = [number for number in range(len(genome.genes)) if genome.active(genome.enumerate())[:, number].all()]
    for number in always_on:
        assert (changed[:, number] != first[:, number]).all() == (genome.num_options[number] > 1)


@quick
@given(genomes(), st.data())
def test_restricted_genomes(genome, data):
    kept = {
        gene.name: data.draw(st.lists(st.sampled_from(gene.options), min_size=1, unique=True)) for gene in genome.genes
    }
    part = genome.restrict(kept)
    rows = genome.enumerate()
    allowed = np.ones(len(rows), dtype=bool)
    for number, gene in enumerate(genome.genes):
        keep = np.array([option in kept[gene.name] for option in gene.options])
        allowed &= keep[rows[:, number]] | ~genome.active(rows)[:, number]
    assert set(part.decode(part.enumerate())) == set(genome.decode(rows[allowed]))
    assert part.size == allowed.sum()


def deep() -> Genome:
    """Depth 1-3 of which the deeper blocks have a kernel each, and the last a width that hangs on its kernel."""
    choices = [
        Choice("depth"),
        Choice("kernel", 0),
        Choice("kernel", 1, "depth", (2, 3)),
        Choice("kernel", 2, "depth", (3,)),
        Choice("width", None, "kernel.2", (5,)),
    ]
    genes = [
        Gene.simple("depth", (1, 2, 3)),
        *(Gene.simple(f"kernel.{i}", (3, 5)) for i in range(3)),
        Gene.simple("width", (8, 16, 24)),
    ]
    return Genome(choices, genes)


def test_size_by_hand():
    assert deep().size == 2 + 2 * 2 + 2 * 2 * (1 + 3)


def chi_square(genome: Genome, rows: np.ndarray) -> float:
    """p-value of the counts of the distinct networks under the uniform distribution."""
    number = {tuple(row): i for i, row in enumerate(genome.enumerate())}
    counts = np.bincount([number[tuple(row)] for row in rows], minlength=genome.size)
    return float(stats.chisquare(counts).pvalue)


@pytest.mark.parametrize("seed", range(3))
def test_sampling_is_uniform_over_networks(seed):
    genome, rng = deep(), np.random.default_rng(seed)
    assert chi_square(genome, genome.sample(5000, rng)) > 1e-3
    assert chi_square(genome, genome.sample(5000, rng, uniform=False)) < 1e-12  # the test can tell


def test_sampling_gene_by_gene_is_uniform_per_gene():
    rows = deep().sample(6000, np.random.default_rng(0), uniform=False)
    assert stats.chisquare(np.bincount(rows[:, 0])).pvalue > 1e-3
    assert stats.chisquare(np.bincount(rows[rows[:, 0] == 2, 3])).pvalue > 1e-3


def test_uniform_sampling_of_a_huge_space():
    """Shares of options that hang below different numbers of networks, where counts do not fit 64 bits."""
    space = get_space({"name": "ofa_mobilenet_v3"})
    rows = space.sample(4000, np.random.default_rng(0))
    stage = 9 ** np.arange(2, 5)  # networks of a stage at depths 2, 3 and 4
    for number, gene in enumerate(space.genes):
        if gene.name.startswith("depth"):
            assert stats.chisquare(np.bincount(rows[:, number]), 4000 * stage / stage.sum()).pvalue > 1e-4
    assert stats.chisquare(np.bincount(rows[:, 0])).pvalue > 1e-4


def test_mutation_draws_the_other_options_alike():
    genome = Genome([Choice("a")], [Gene.simple("a", (1, 2, 3, 4))])
    rows = genome.mutate(np.full((6000, 1), 1), np.random.default_rng(0), 0.5)[:, 0]
    assert 0.45 < (rows != 1).mean() < 0.55
    assert stats.chisquare(np.bincount(rows[rows != 1], minlength=4)[[0, 2, 3]]).pvalue > 1e-3


def test_same_generator_same_rows():
    genome = deep()
    assert np.array_equal(*(genome.sample(50, np.random.default_rng(3)) for _ in range(2)))


def test_a_parent_must_come_before_its_children():
    choices = [Choice("a", parent="b", active_for=(1,)), Choice("b")]
    with pytest.raises(AssertionError):
        Genome(choices, [Gene.simple("a", (1, 2)), Gene.simple("b", (1, 2))])


def test_a_child_of_a_choice_that_its_gene_may_leave_out_is_counted_right():
    """`c` hangs on `b`, which the first option of the coupled gene leaves out, though it names a value for it."""
    choices = [Choice("a"), Choice("b", None, "a", (2,)), Choice("c", None, "b", (7,))]
    genome = Genome(choices, [Gene("both", ("x", "y"), (("a", (1, 2)), ("b", (7, 7)))), Gene.simple("c", (1, 2, 3))])
    assert genome.size == 1 + 3
    assert genome.decode(genome.enumerate())[0] == Architecture({"a": 1, "b": None, "c": None})


def test_whole_numbers_stay_whole_beside_fractions():
    genome = Genome([Choice("expand")], [Gene.simple("expand", (3, 4.5))])
    first, second = genome.decode(genome.enumerate())
    assert (repr(first), repr(second)) == ('Architecture({"expand": 3})', 'Architecture({"expand": 4.5})')
    same = Architecture.from_json({"expand": 3.0})
    assert (same, hash(same), same.key) == (first, hash(first), first.key)


# -- published numbers -------------------------------------------------------------------------------------------------


def test_published_sizes():
    assert get_space({"name": "ofa_mobilenet_v3"}).size == 7371**5 * 25
    compound = get_space({"name": "mobilenet_v3_compound"})
    assert compound.size == 243 * 25
    for resolution in (128, 160, 224):
        assert compound.restrict(resolution=[resolution]).size == 243


@pytest.mark.parametrize(
    ("width_mult", "macs", "params"),
    [
        (1.0, (121_278_672, 566_170_656), (3_410_792, 7_664_760)),
        (1.2, (193_078_200, 843_101_040), (4_602_456, 10_701_632)),
    ],
)
def test_published_costs_at_224_px(width_mult, macs, params):
    space = get_space({"name": "ofa_mobilenet_v3", "width_mult": width_mult}).restrict(resolution=[224])
    for metric, expected in (("macs", macs), ("params", params)):
        cost = space.cost(metric)
        assert (cost.minimum()[0], cost.maximum()[0]) == expected
        assert cost.evaluate(np.array([space.smallest(), space.largest()])).tolist() == list(expected)
