"""Which probes ask what the data and the model's other outputs give away, beside membership and the audit of ε?"""

from __future__ import annotations

from steelyard.audit.target import Probe
from steelyard.probes.privacy.attribute_inference import AttributeInference
from steelyard.probes.privacy.duplicates import Duplicates
from steelyard.probes.privacy.extraction import Extraction
from steelyard.probes.privacy.gradient_norm import GradientNorm
from steelyard.probes.privacy.inversion import ModelInversion
from steelyard.probes.privacy.inversion_gradient import GradientInversion
from steelyard.probes.privacy.language_memorisation import LanguageMemorisation
from steelyard.probes.privacy.pii import PersonalData
from steelyard.probes.privacy.property_inference import PropertyInference
from steelyard.probes.privacy.unique_rows import UniqueRows

__all__ = ["PRIVACY_DATA"]

PRIVACY_DATA: tuple[type[Probe], ...] = (
    UniqueRows,
    Duplicates,
    PersonalData,
    AttributeInference,
    PropertyInference,
    Extraction,
    ModelInversion,
    GradientInversion,
    GradientNorm,
    LanguageMemorisation,
)
