"""The privacy probes of membership and of ε, for the registry."""

from __future__ import annotations

from steelyard.audit.target import Probe
from steelyard.probes.privacy.dp_audit import DpAudit
from steelyard.probes.privacy.label_only import LabelOnly
from steelyard.probes.privacy.membership import Membership
from steelyard.probes.privacy.shadow_membership import ShadowMembership

__all__ = ["PRIVACY"]

PRIVACY: tuple[type[Probe], ...] = (Membership, ShadowMembership, LabelOnly, DpAudit)
