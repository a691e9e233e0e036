"""Microsoft Presidio's pattern recognisers on a blank pipeline, which needs no trained model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from steelyard.audit.errors import ProbeError

__all__ = ["find_all"]

BATCH = 256
LEAST_SCORE = 0.5  # of Presidio's own scores: what a checksum or a fixed form settles


def find_all(texts: Sequence[str]) -> list[list[tuple[str, str]]]:
    """For each text the (kind, value) pairs found, kinds in Presidio's own names as kebab-case.

    Raises ProbeError where Presidio is not installed.
    """
    engine = _engine()
    found = []
    for hits, text in zip(engine.analyze_iterator(texts, language="en", batch_size=BATCH), texts, strict=True):
        kept = [hit for hit in hits if hit.score >= LEAST_SCORE]
        found.append([(hit.entity_type.lower().replace("_", "-"), text[hit.start : hit.end].lower()) for hit in kept])
    return found


@cache
def _engine() -> Any:
    if find_spec("presidio_analyzer") is None or find_spec("spacy") is None:
        raise ProbeError("the recogniser 'presidio' is not installed", hint="pip install presidio-analyzer")
    from presidio_analyzer import AnalyzerEngine, BatchAnalyzerEngine, PatternRecognizer, RecognizerRegistry

    registry = RecognizerRegistry(supported_languages=["en"])
    registry.load_predefined_recognizers(languages=["en"])
    # The others want names found by a trained model, and the blank pipeline finds none.
    registry.recognizers = [one for one in registry.recognizers if isinstance(one, PatternRecognizer)]
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=_blank(), supported_languages=["en"])
    return BatchAnalyzerEngine(analyzer_engine=analyzer)


def _blank() -> Any:
    """Presidio's engine around `spacy.blank`: tokens for the context words, no names."""
    from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

    class Blank(NlpEngine):  # type: ignore[misc, unused-ignore]  # Presidio is read as untyped
        engine_name = "blank"
        is_available = True

        def __init__(self) -> None:
            self.nlp = import_module("spacy").blank("en")

        def load(self) -> None:
            """Nothing to load."""

        def is_loaded(self) -> bool:
            return True

        def process_text(self, text: str, language: str) -> Any:
            doc = self.nlp(text)
            return NlpArtifacts(
                entities=[], tokens=doc, tokens_indices=[token.idx for token in doc],
                lemmas=[token.text for token in doc], nlp_engine=self, language=language, scores=[],
            )  # fmt: skip

        def process_batch(self, texts: Iterable[Any], language: str, **_: Any) -> Iterator[tuple[str, Any]]:
            for text in texts:
                yield text, self.process_text(text, language)

        def is_stopword(self, word: str, language: str) -> bool:
            return bool(self.nlp.vocab[word].is_stop)

        def is_punct(self, word: str, language: str) -> bool:
            return bool(self.nlp.vocab[word].is_punct)

        def get_supported_entities(self) -> list[str]:
            return []

        def get_supported_languages(self) -> list[str]:
            return ["en"]

    return Blank()
