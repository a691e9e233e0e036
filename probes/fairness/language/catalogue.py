"""The probes of language models, in the order in which the registry lists them."""

from __future__ import annotations

from steelyard.audit.target import Probe
from steelyard.probes.fairness.language.bbq import Bbq
from steelyard.probes.fairness.language.bold import Bold
from steelyard.probes.fairness.language.crows_pairs import CrowsPairs
from steelyard.probes.fairness.language.honest import Honest
from steelyard.probes.fairness.language.stereoset import StereoSet
from steelyard.probes.fairness.language.weat import Weat
from steelyard.probes.fairness.language.winobias import WinoBias

__all__ = ["LANGUAGE"]

LANGUAGE: tuple[type[Probe], ...] = (CrowsPairs, StereoSet, Bbq, WinoBias, Honest, Bold, Weat)
