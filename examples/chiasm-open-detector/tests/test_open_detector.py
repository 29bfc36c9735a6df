"""A tiny random Grounding DINO in a folder answers through chiasm: boxes of the image, no slots, no notice."""

from pathlib import Path

import chiasm
import pytest
from chiasm_open_detector import FOLDER
from PIL import Image
from transformers import BertTokenizerFast, GroundingDinoConfig, GroundingDinoForObjectDetection

PHOTO = Image.effect_noise((90, 60), 80).convert("RGB")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("dino")
    letters = [chr(97 + k) for k in range(26)]
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "?", "cat", "dog", *letters]
    (home / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(home / "vocab.txt")).save_pretrained(home)
    text = {
        "model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "vocab_size": len(words), "max_position_embeddings": 64,
    }
    swin = {
        "model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "window_size": 3,
        "image_size": 64, "out_features": ["stage2", "stage3", "stage4"],
    }
    config = GroundingDinoConfig(
        backbone_config=swin, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2, num_queries=20,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_text_len=64,
        use_pretrained_backbone=False,
    )
    GroundingDinoForObjectDetection(config).save_pretrained(home)
    return home


@pytest.fixture
def model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> chiasm.Model:
    monkeypatch.setenv(FOLDER, str(folder))
    model = chiasm.load("nano", tasks=["open_detector"])
    model.network.decoders["open_detector"].short_side = 64
    return model


def test_it_answers_each_phrase_with_boxes_of_the_image(model: chiasm.Model) -> None:
    result = model.run("open_detector", PHOTO, ["cat", "a dog"], threshold=0.0, max_objects=5)
    assert [(boxes.phrase, len(boxes.items)) for boxes in result.outputs["open_detector"]] == [("cat", 5), ("a dog", 5)]
    assert all(0 <= x0 <= x1 <= 90 and 0 <= y0 <= y1 <= 60 for x0, y0, x1, y1 in (o.box.xyxy for o in result.objects))
    assert not result.notices


def test_it_is_never_said_to_be_untrained_and_never_said_by_the_model(model: chiasm.Model) -> None:
    assert "open_detector" not in model.untrained
    assert not model.ask(PHOTO, "Find the cat.", tasks=["open_detector"]).outputs


def test_without_a_folder_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    result = chiasm.load("nano", tasks=["open_detector"]).run("open_detector", PHOTO, ["cat"])
    assert "set CHIASM_OPEN_DETECTOR to a folder" in result.notices[0].text
