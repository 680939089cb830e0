/* SPDX-License-Identifier: Apache-2.0 */
/* What tensors are called in files of encoders after BERT. As in BERT's files, what a layer of
 * those with a norm after each half ends with belongs to the layer behind it. */
#include "model/family.h"

const struct tensor_name family_distilbert_names[] = {
    {ROLE_EMBEDDING, "model.embeddings.word_embeddings.weight", PART_WHOLE},
    {ROLE_POSITIONS, "model.embeddings.position_embeddings.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.transformer.layer.{before}.output_layer_norm.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.embeddings.{first}LayerNorm.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.transformer.layer.{last}.output_layer_norm.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "model.transformer.layer.{layer}.sa_layer_norm.weight", PART_WHOLE},
    {ROLE_Q, "model.transformer.layer.{layer}.attention.q_lin.weight", PART_WHOLE},
    {ROLE_K, "model.transformer.layer.{layer}.attention.k_lin.weight", PART_WHOLE},
    {ROLE_V, "model.transformer.layer.{layer}.attention.v_lin.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT, "model.transformer.layer.{layer}.attention.out_lin.weight", PART_WHOLE},
    {ROLE_UP, "model.transformer.layer.{layer}.ffn.lin1.weight", PART_WHOLE},
    {ROLE_DOWN, "model.transformer.layer.{layer}.ffn.lin2.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.transformer.layer.{before}.output_layer_norm.bias",
     PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.embeddings.{first}LayerNorm.bias", PART_WHOLE},
    {ROLE_FINAL_NORM_BIAS, "model.transformer.layer.{last}.output_layer_norm.bias", PART_WHOLE},
    {ROLE_MLP_NORM_BIAS, "model.transformer.layer.{layer}.sa_layer_norm.bias", PART_WHOLE},
    {ROLE_Q_BIAS, "model.transformer.layer.{layer}.attention.q_lin.bias", PART_WHOLE},
    {ROLE_K_BIAS, "model.transformer.layer.{layer}.attention.k_lin.bias", PART_WHOLE},
    {ROLE_V_BIAS, "model.transformer.layer.{layer}.attention.v_lin.bias", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT_BIAS, "model.transformer.layer.{layer}.attention.out_lin.bias",
     PART_WHOLE},
    {ROLE_UP_BIAS, "model.transformer.layer.{layer}.ffn.lin1.bias", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.transformer.layer.{layer}.ffn.lin2.bias", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_mpnet_names[] = {
    {ROLE_EMBEDDING, "model.embeddings.word_embeddings.weight", PART_WHOLE},
    {ROLE_POSITIONS, "model.embeddings.position_embeddings.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.encoder.layer.{before}.output.LayerNorm.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.embeddings.{first}LayerNorm.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.encoder.layer.{last}.output.LayerNorm.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "model.encoder.layer.{layer}.attention.LayerNorm.weight", PART_WHOLE},
    {ROLE_Q, "model.encoder.layer.{layer}.attention.attn.q.weight", PART_WHOLE},
    {ROLE_K, "model.encoder.layer.{layer}.attention.attn.k.weight", PART_WHOLE},
    {ROLE_V, "model.encoder.layer.{layer}.attention.attn.v.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT, "model.encoder.layer.{layer}.attention.attn.o.weight", PART_WHOLE},
    {ROLE_UP, "model.encoder.layer.{layer}.intermediate.dense.weight", PART_WHOLE},
    {ROLE_DOWN, "model.encoder.layer.{layer}.output.dense.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.encoder.layer.{before}.output.LayerNorm.bias", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.embeddings.{first}LayerNorm.bias", PART_WHOLE},
    {ROLE_FINAL_NORM_BIAS, "model.encoder.layer.{last}.output.LayerNorm.bias", PART_WHOLE},
    {ROLE_MLP_NORM_BIAS, "model.encoder.layer.{layer}.attention.LayerNorm.bias", PART_WHOLE},
    {ROLE_Q_BIAS, "model.encoder.layer.{layer}.attention.attn.q.bias", PART_WHOLE},
    {ROLE_K_BIAS, "model.encoder.layer.{layer}.attention.attn.k.bias", PART_WHOLE},
    {ROLE_V_BIAS, "model.encoder.layer.{layer}.attention.attn.v.bias", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT_BIAS, "model.encoder.layer.{layer}.attention.attn.o.bias", PART_WHOLE},
    {ROLE_UP_BIAS, "model.encoder.layer.{layer}.intermediate.dense.bias", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.encoder.layer.{layer}.output.dense.bias", PART_WHOLE},
    {ROLE_RELATIVE_BIAS, "model.encoder.relative_attention_bias.weight", PART_WHOLE},
    {0, NULL, 0},
};

const struct tensor_name family_nomic_bert_names[] = {
    {ROLE_EMBEDDING, "model.embeddings.word_embeddings.weight", PART_WHOLE},
    {ROLE_TOKEN_TYPES, "model.embeddings.token_type_embeddings.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.encoder.layers.{before}.norm2.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.{first}emb_ln.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.encoder.layers.{last}.norm2.weight", PART_WHOLE},
    {ROLE_MLP_NORM, "model.encoder.layers.{layer}.norm1.weight", PART_WHOLE},
    {ROLE_Q, "model.encoder.layers.{layer}.attn.Wqkv.weight", PART_Q_OF_QKV},
    {ROLE_K, "model.encoder.layers.{layer}.attn.Wqkv.weight", PART_K_OF_QKV},
    {ROLE_V, "model.encoder.layers.{layer}.attn.Wqkv.weight", PART_V_OF_QKV},
    {ROLE_ATTENTION_OUTPUT, "model.encoder.layers.{layer}.attn.out_proj.weight", PART_WHOLE},
    {ROLE_UP, "model.encoder.layers.{layer}.mlp.fc11.weight", PART_WHOLE},
    {ROLE_GATE, "model.encoder.layers.{layer}.mlp.fc12.weight", PART_WHOLE},
    {ROLE_DOWN, "model.encoder.layers.{layer}.mlp.fc2.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.encoder.layers.{before}.norm2.bias", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.{first}emb_ln.bias", PART_WHOLE},
    {ROLE_FINAL_NORM_BIAS, "model.encoder.layers.{last}.norm2.bias", PART_WHOLE},
    {ROLE_MLP_NORM_BIAS, "model.encoder.layers.{layer}.norm1.bias", PART_WHOLE},
    {ROLE_Q_BIAS, "model.encoder.layers.{layer}.attn.Wqkv.bias", PART_Q_OF_QKV},
    {ROLE_K_BIAS, "model.encoder.layers.{layer}.attn.Wqkv.bias", PART_K_OF_QKV},
    {ROLE_V_BIAS, "model.encoder.layers.{layer}.attn.Wqkv.bias", PART_V_OF_QKV},
    {ROLE_ATTENTION_OUTPUT_BIAS, "model.encoder.layers.{layer}.attn.out_proj.bias", PART_WHOLE},
    {ROLE_UP_BIAS, "model.encoder.layers.{layer}.mlp.fc11.bias", PART_WHOLE},
    {ROLE_GATE_BIAS, "model.encoder.layers.{layer}.mlp.fc12.bias", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.encoder.layers.{layer}.mlp.fc2.bias", PART_WHOLE},
    {0, NULL, 0},
};

/* Norms before both halves; the first layer's attention reads the norm of the embeddings. */
const struct tensor_name family_modernbert_names[] = {
    {ROLE_EMBEDDING, "model.embeddings.tok_embeddings.weight", PART_WHOLE},
    {ROLE_FINAL_NORM, "model.final_norm.weight", PART_WHOLE},
    {ROLE_FINAL_NORM_BIAS, "model.final_norm.bias", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.layers.{layer}.attn_norm.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM, "model.embeddings.{first}norm.weight", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.layers.{layer}.attn_norm.bias", PART_WHOLE},
    {ROLE_ATTENTION_NORM_BIAS, "model.embeddings.{first}norm.bias", PART_WHOLE},
    {ROLE_Q, "model.layers.{layer}.attn.Wqkv.weight", PART_Q_OF_QKV},
    {ROLE_K, "model.layers.{layer}.attn.Wqkv.weight", PART_K_OF_QKV},
    {ROLE_V, "model.layers.{layer}.attn.Wqkv.weight", PART_V_OF_QKV},
    {ROLE_Q_BIAS, "model.layers.{layer}.attn.Wqkv.bias", PART_Q_OF_QKV},
    {ROLE_K_BIAS, "model.layers.{layer}.attn.Wqkv.bias", PART_K_OF_QKV},
    {ROLE_V_BIAS, "model.layers.{layer}.attn.Wqkv.bias", PART_V_OF_QKV},
    {ROLE_ATTENTION_OUTPUT, "model.layers.{layer}.attn.Wo.weight", PART_WHOLE},
    {ROLE_ATTENTION_OUTPUT_BIAS, "model.layers.{layer}.attn.Wo.bias", PART_WHOLE},
    {ROLE_MLP_NORM, "model.layers.{layer}.mlp_norm.weight", PART_WHOLE},
    {ROLE_MLP_NORM_BIAS, "model.layers.{layer}.mlp_norm.bias", PART_WHOLE},
    {ROLE_GATE, "model.layers.{layer}.mlp.Wi.weight", PART_GATE_OF_PAIR},
    {ROLE_UP, "model.layers.{layer}.mlp.Wi.weight", PART_UP_OF_PAIR},
    {ROLE_GATE_BIAS, "model.layers.{layer}.mlp.Wi.bias", PART_GATE_OF_PAIR},
    {ROLE_UP_BIAS, "model.layers.{layer}.mlp.Wi.bias", PART_UP_OF_PAIR},
    {ROLE_DOWN, "model.layers.{layer}.mlp.Wo.weight", PART_WHOLE},
    {ROLE_DOWN_BIAS, "model.layers.{layer}.mlp.Wo.bias", PART_WHOLE},
    {0, NULL, 0},
};

/* ---- Heads of these ---- */

const struct head_shape family_distilbert_head = {
    {{.weight = "pre_classifier.weight", .bias = "pre_classifier.bias", .activation = HEAD_RELU},
     {.weight = "classifier.weight", .bias = "classifier.bias"}}};

const struct head_shape family_modernbert_head = {
    {{.weight = "head.dense.weight",
      .bias = "head.dense.bias",
      .activation = HEAD_GELU,
      .norm = "head.norm.weight",
      .norm_bias = "head.norm.bias"},
     {.weight = "classifier.weight", .bias = "classifier.bias"}}};
