"""Small random models of `transformers`, and the networks of ours that take their weights."""

import json
import warnings
from pathlib import Path

import torch

import nnkit
from nnkit.factory import build_network
from nnkit.hugging_face import Directory, write_directory

BERT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
BERT |= {"max_position_embeddings": 20, "hidden_act": "gelu_new", "layer_norm_eps": 1e-6}
BERT |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "vocab_size": 30}
GPT2 = {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_inner": 40, "n_positions": 20, "vocab_size": 30}
GPT2 |= {"layer_norm_epsilon": 1e-6, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}

LLAMA = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
LLAMA |= {"intermediate_size": 40, "max_position_embeddings": 20, "vocab_size": 30, "rms_norm_eps": 1e-4}
LLAMA |= {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}
VIT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 96}
VIT |= {"image_size": 28, "patch_size": 7, "num_channels": 1, "num_labels": 10, "hidden_act": "relu"}
RESNET = {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 2], "layer_type": "basic"}
RESNET |= {"num_channels": 1, "num_labels": 10}


def peer(name, seed=0, **options):
    """Return a model of theirs by the name of its class, every number of it drawn."""
    import transformers

    torch.manual_seed(seed)
    kind = getattr(transformers, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        attention = {} if name.startswith("ResNet") else {"attn_implementation": "eager"}
        model = kind(kind.config_class(**options, **attention)).eval()
    # Biases and gains begin at 0 and 1, where a mistake in them would not be seen.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
        for name, statistic in model.named_buffers():
            if "running" in name:
                statistic.add_(torch.rand_like(statistic))
    return model


def saved(model, folder):
    """Save a model of theirs, and return the directory as ours reads it."""
    model.save_pretrained(folder)
    return Directory(Path(folder))


def network(directory, words, with_head=True):
    """Return a network of ours with the weights of a directory, its config, and what was taken."""
    config = nnkit.compose(words).config
    for key, value in {**directory.settings, **directory.free}.items():
        group, _, name = key.partition(".")
        if group == "model" or name in config.head:
            config[group][name] = value
    built = build_network(config).eval()
    shapes = {name: tensor.shape for name, tensor in built.state_dict().items()}
    taken = directory.take(shapes, config.head["_target_"], with_head=with_head)
    built.load_state_dict(taken.tensors, strict=False)
    return built, config, taken


def written(folder, built, config, preprocessing=None):
    """Write a network of ours and return the sentences on it."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(config, resolve=True)
    state = built.state_dict()
    parts = {group: plain[group] for group in ("model", "head", "data")}
    return write_directory(Path(folder), **parts, state=state, preprocessing=preprocessing or {})


def edit(path, **changes):
    """Change keys of a JSON file; None takes one out."""
    content = json.loads(Path(path).read_text()) | changes
    Path(path).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
