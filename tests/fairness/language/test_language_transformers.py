"""The probes on tiny transformers made in memory, behind the adapter that audits use: untrained ones are refused."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from steelyard.audit.errors import ProbeError  # noqa: E402 (after the check that torch is there)
from steelyard.audit.plan import TargetPart  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Capability, Failure, Modality, Task  # noqa: E402
from steelyard.models.targets.transformers import transformers_target  # noqa: E402
from steelyard.probes.fairness.language.asking import loglikelihoods, token_ids  # noqa: E402
from steelyard.probes.fairness.language.crows_pairs import CrowsPairs  # noqa: E402
from steelyard.probes.fairness.language.fluency import PLAIN, refuse_untrained, shuffled  # noqa: E402
from steelyard.probes.fairness.language.honest import Honest  # noqa: E402
from steelyard.probes.fairness.language.stereoset import StereoSet  # noqa: E402
from steelyard.probes.fairness.language.weat import Weat  # noqa: E402

LANGUAGE = Sample(inputs=[], labels=None, task=Task.LANGUAGE, modality=Modality.TEXT, fingerprint="none")
SIZE = {"initializer_range": 0.5}
# Two sentences that differ in one word; the first of each pair is among those that the trained model has seen.
PAIRS = [(text, text.replace(" the ", " that ", 1)) for text in PLAIN if " the " in text][:20]


def words(texts):
    return sorted({w for text in texts for w in text.casefold().replace(".", " .").replace(",", " ,").split()})


def tokenizer():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    special = ["[PAD]", "[UNK]", "[MASK]", "[BOS]"]
    vocabulary = {w: i for i, w in enumerate([*special, *words([*PLAIN, *shuffled(PLAIN), "that"])])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]", bos_token="[BOS]"
    )


def model_of(kind, size):
    if kind == "causal":
        config = transformers.GPT2Config(
            n_layer=1, n_head=2, n_embd=32, n_positions=64, vocab_size=size, resid_pdrop=0.0, embd_pdrop=0.0,
            attn_pdrop=0.0, bos_token_id=3, eos_token_id=3, **SIZE,
        )  # fmt: skip
        return transformers.GPT2LMHeadModel(config)
    config = transformers.BertConfig(
        num_hidden_layers=1, num_attention_heads=2, hidden_size=32, intermediate_size=32, vocab_size=size,
        max_position_embeddings=64, **SIZE,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)


def trained(model, cutter):
    """The model after it has seen the plain sentences a hundred times."""
    ids = [[3, *cutter(text, add_special_tokens=False)["input_ids"]] for text in PLAIN]
    longest = max(map(len, ids))
    table = torch.tensor([one + [0] * (longest - len(one)) for one in ids])
    labels = torch.where(table == 0, -100, table)
    steps = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(100):
        loss = model(input_ids=table, attention_mask=(table != 0).long(), labels=labels).loss
        steps.zero_grad()
        loss.backward()
        steps.step()
    return model.eval()


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """`target("causal")`, `target("masked")`: untrained; with `taught`, trained on the plain sentences."""

    def load(kind, *, taught=False):
        folder = tmp_path_factory.mktemp(kind)
        cutter = tokenizer()
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with torch.random.fork_rng():
                torch.manual_seed(4)
                model = model_of(kind, len(cutter))
                model = trained(model, cutter) if taught else model.eval()
        finally:
            torch.set_num_threads(before)
        model.save_pretrained(folder)
        cutter.save_pretrained(folder)
        part = TargetPart(kind="transformers", path=str(folder))
        return transformers_target(part, base=folder, sample=LANGUAGE, name="candidate")

    return load


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_an_untrained_transformer_is_refused(kind, target, tmp_path, asked):
    model = target(kind)
    assert model.scoring == kind
    with pytest.raises(ProbeError, match="no better than chance"):
        refuse_untrained(model)
    path = pairs_file(tmp_path)
    with pytest.raises(ProbeError, match="no better than chance"):
        asked(CrowsPairs(path=str(path)), model)
    (tmp_path / "s.jsonl").write_text(
        '{"type": "intrasentence", "target": "t", "bias_type": "race", "context": "BLANK", '
        '"stereotype": "a", "anti-stereotype": "b", "unrelated": "c"}\n', encoding="utf-8",
    )  # fmt: skip
    with pytest.raises(ProbeError, match="no better than chance"):
        asked(StereoSet(path=str(tmp_path / "s.jsonl")), model)


def pairs_file(tmp_path):
    path = tmp_path / "pairs.csv"
    lines = [f'{i},"{more}","{less}",stereo,gender\n' for i, (more, less) in enumerate(PAIRS)]
    path.write_text("n,sent_more,sent_less,stereo_antistereo,bias_type\n" + "".join(lines), encoding="utf-8")
    return path


def test_tokens_and_scores_of_the_adapter_agree(target):
    for kind in ("causal", "masked"):
        model = target(kind)
        told = loglikelihoods(model, PLAIN)
        assert all(np.isfinite(values).all() for values in told)
        token_ids(model, PLAIN, told)


def test_a_trained_transformer_is_measured(target, tmp_path, asked, found, well_formed):
    model = target("causal", taught=True)
    refuse_untrained(model)
    probe = CrowsPairs(path=str(pairs_file(tmp_path)))
    rows = asked(probe, model)
    well_formed(probe, rows, asked(probe, model))
    # it has learnt the first sentence of every pair
    assert found(rows, "fairness.crows-pairs.stereotype-share").estimate.value >= 0.9
    lines = "".join(
        f'{{"type": "intrasentence", "target": "t{i % 5}", "bias_type": "race", "context": "BLANK", '
        f'"stereotype": "{more}", "anti-stereotype": "{less}", "unrelated": "{other}"}}\n'
        for i, ((more, less), other) in enumerate(zip(PAIRS, shuffled(PLAIN), strict=False))
    )
    (tmp_path / "stereoset.jsonl").write_text(lines, encoding="utf-8")
    rows = asked(StereoSet(path=str(tmp_path / "stereoset.jsonl")), model)
    assert found(rows, "fairness.stereoset.ss").estimate.value >= 80
    assert found(rows, "fairness.stereoset.lms").estimate.value >= 90


def test_a_trained_transformer_writes_and_an_untrained_ones_embeddings_mean_nothing(target, asked, found):
    probe = Honest(completions=1, max_tokens=3)
    model = target("causal", taught=True)
    rows = asked(probe, model)
    assert found(rows, "fairness.honest.score").estimate.n == 288
    masked = target("masked")
    assert Capability.GENERATE not in masked.capabilities
    assert all(isinstance(row, Failure) for row in asked(Weat(), masked))
