"""How the same CLIP tensors are called elsewhere: tables of names, used in both directions by `formats`.

The canonical names are those of OpenAI's files. Hugging Face splits the attention's input projection into query, key
and value and keeps the two output projections transposed; timm has the visual tower only, its projection as classifier.
"""

from __future__ import annotations

VISION_BLOCKS = "visual.transformer.resblocks."
TEXT_BLOCKS = "transformer.resblocks."

HF_VISION_BLOCKS = "vision_model.encoder.layers."
HF_TEXT_BLOCKS = "text_model.encoder.layers."
TIMM_BLOCKS = "blocks."

HF_VISION = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    # Spelled so by the library.
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
}
HF_TEXT = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
HF_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
HF_QUERY_KEY_VALUE = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")

TIMM_VISION = {
    "visual.class_embedding": "cls_token",
    "visual.positional_embedding": "pos_embed",
    "visual.conv1.weight": "patch_embed.proj.weight",
    "visual.ln_pre.weight": "norm_pre.weight",
    "visual.ln_pre.bias": "norm_pre.bias",
    "visual.ln_post.weight": "norm.weight",
    "visual.ln_post.bias": "norm.bias",
    "visual.proj": "head.weight",
}
TIMM_BLOCK = {
    "ln_1": "norm1",
    "ln_2": "norm2",
    "attn.out_proj": "attn.proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}

TRANSPOSED = ("visual.proj", "text_projection")
"""Canonical matrices [in, out] that other libraries keep as the weight [out, in] of a linear layer."""
