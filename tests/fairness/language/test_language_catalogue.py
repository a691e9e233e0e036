"""What the probes of language models owe before they are run."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields

import pytest

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.policy import is_contrast
from steelyard.audit.types import Capability, Direction, Task
from steelyard.audit.units import misfit
from steelyard.probes.fairness.language.catalogue import LANGUAGE

METRIC_ID = re.compile(r"fairness\.[a-z0-9]+(-[a-z0-9]+)*\.[a-z0-9]+(-[a-z0-9]+)*")


@pytest.mark.parametrize("kind", LANGUAGE, ids=lambda kind: kind.id)
def test_metadata_of_a_language_probe_is_complete(kind):
    assert "?" in kind.__doc__.splitlines()[0]
    assert kind.tasks == frozenset({Task.LANGUAGE})
    assert kind.requires <= set(Capability)
    assert set(kind.files) <= {field.name for field in fields(kind)}
    for field in fields(kind):
        assert isinstance(field.default, (bool, int, float, str))
    for spec in kind.metrics:
        assert METRIC_ID.fullmatch(spec.id)
        assert spec.id.startswith(f"{kind.id}.")
        assert not is_contrast(spec.id), "a gate on it would ask for protected attributes of a table"
        assert spec.definition
        assert spec.source
        assert spec.not_shown
        assert spec.lower < spec.upper
        assert spec.direction is Direction.NONE or spec.ideal is not None


def test_ids_are_the_ones_of_the_design():
    ids = {kind.id.removeprefix("fairness.") for kind in LANGUAGE}
    assert ids == {"crows-pairs", "stereoset", "bbq", "winobias", "honest", "bold", "weat"}


BRING_THEIR_OWN = {"fairness.bold", "fairness.weat", "fairness.honest"}


@pytest.mark.parametrize("kind", [k for k in LANGUAGE if k.id not in BRING_THEIR_OWN], ids=lambda k: k.id)
def test_without_its_file_a_probe_says_which_to_get_and_its_licence(kind, planted, asked):
    with pytest.raises(NotApplicable) as error:
        asked(kind(), planted())
    assert "github.com" in error.value.hint
    assert "CC BY" in error.value.hint or "MIT" in error.value.hint


@pytest.mark.parametrize("kind", LANGUAGE, ids=lambda kind: kind.id)
def test_a_file_that_is_not_there_is_named(kind, planted, asked):
    where = kind.files[0]
    settings = {where: "no/such.file", **({"anti_type1": "no/such.file"} if where == "pro_type1" else {})}
    with pytest.raises(ProbeError, match=r"no/such\.file cannot be read"):
        asked(kind(**settings), planted())


@pytest.mark.parametrize("kind", LANGUAGE, ids=lambda kind: kind.id)
def test_a_model_that_lacks_a_capability_does_not_fit(kind, planted):
    from steelyard.audit.target import Sample
    from steelyard.audit.types import Modality

    mute = planted()
    mute.capabilities = frozenset()
    empty = Sample(inputs=[], labels=None, task=Task.LANGUAGE, modality=Modality.TEXT, fingerprint="none")
    assert set(misfit(kind(), mute, empty).missing) == {str(one) for one in kind.requires}
    assert misfit(kind(), planted(), empty) is None


def test_the_catalogue_loads_no_heavy_library():
    code = (
        "import sys, steelyard.probes.fairness.language.catalogue; "
        "print({'torch', 'transformers', 'scipy', 'pandas', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
