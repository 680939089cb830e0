/* SPDX-License-Identifier: Apache-2.0 */
/* What transformers' classes, and tiktoken's encodings, add to a vocabulary's file. */
#include <string.h>

#include "text/tokenizer/patterns.h"
#include "text/tokenizer/read/source.h"

/* Llama 3.1's names; Llama 3 keeps some of them free. */
static const struct token_series llama3_series[] = {
    {"<|begin_of_text|>", 128000, 1, 0},
    {"<|end_of_text|>", 128001, 1, 0},
    {"<|reserved_special_token_#|>", 128002, 2, 0},
    {"<|finetune_right_pad_id|>", 128004, 1, 0},
    {"<|reserved_special_token_#|>", 128005, 1, 2},
    {"<|start_header_id|>", 128006, 1, 0},
    {"<|end_header_id|>", 128007, 1, 0},
    {"<|eom_id|>", 128008, 1, 0},
    {"<|eot_id|>", 128009, 1, 0},
    {"<|python_tag|>", 128010, 1, 0},
    {"<|reserved_special_token_#|>", 128011, 245, 3},
    {NULL, 0, 0, 0},
};

static const struct token_series qwen_series[] = {
    {"<|endoftext|>", 151643, 1, 0},
    {"<|im_start|>", 151644, 1, 0},
    {"<|im_end|>", 151645, 1, 0},
    {"<|extra_#|>", 151646, 205, 0},
    {NULL, 0, 0, 0},
};

static const struct token_series cl100k_series[] = {
    {"<|endoftext|>", 100257, 1, 0},   {"<|fim_prefix|>", 100258, 1, 0},
    {"<|fim_middle|>", 100259, 1, 0},  {"<|fim_suffix|>", 100260, 1, 0},
    {"<|endofprompt|>", 100276, 1, 0}, {NULL, 0, 0, 0},
};

static const struct token_series o200k_series[] = {
    {"<|endoftext|>", 199999, 1, 0},
    {"<|endofprompt|>", 200018, 1, 0},
    {NULL, 0, 0, 0},
};

static const struct token_series gpt2_series[] = {
    {"<|endoftext|>", 50256, 1, 0},
    {NULL, 0, 0, 0},
};

#define FAIRSEQ_ROLES                                                                              \
    {                                                                                              \
        [ROLE_BOS] = "<s>", [ROLE_EOS] = "</s>", [ROLE_UNKNOWN] = "<unk>",                         \
        [ROLE_SEPARATOR] = "</s>", [ROLE_PAD] = "<pad>", [ROLE_CLASSIFY] = "<s>",                  \
        [ROLE_MASK] = "<mask>"                                                                     \
    }

static const struct tokenizer_class classes[] = {
    /* ---- SentencePiece ---- */
    {.form = FORM_SENTENCEPIECE,
     .names = " LlamaTokenizer CodeLlamaTokenizer Phi3Tokenizer InternLM2Tokenizer "
              "InternLMTokenizer BaichuanTokenizer YiTokenizer MistralTokenizer ",
     .model_types = " llama mistral mixtral phi3 yi ",
     .roles = {[ROLE_BOS] = "<s>", [ROLE_EOS] = "</s>", [ROLE_UNKNOWN] = "<unk>"},
     .add_bos = true},
    {.form = FORM_SENTENCEPIECE,
     .names = " GemmaTokenizer ",
     .model_types = " gemma gemma2 gemma3 gemma3_text ",
     .roles = {[ROLE_BOS] = "<bos>",
               [ROLE_EOS] = "<eos>",
               [ROLE_UNKNOWN] = "<unk>",
               [ROLE_PAD] = "<pad>"},
     .add_bos = true},
    {.form = FORM_SENTENCEPIECE,
     .names = " T5Tokenizer MT5Tokenizer ",
     .model_types = " t5 mt5 ",
     .roles = {[ROLE_EOS] = "</s>", [ROLE_UNKNOWN] = "<unk>", [ROLE_PAD] = "<pad>"},
     .after = ROLE_EOS,
     .layout = LAYOUT_T5},
    {.form = FORM_SENTENCEPIECE,
     .names = " XLMRobertaTokenizer ",
     .model_types = " xlm-roberta xlm-roberta-xl ",
     .roles = FAIRSEQ_ROLES,
     .before = ROLE_BOS,
     .after = ROLE_EOS,
     .layout = LAYOUT_FAIRSEQ},
    {.form = FORM_SENTENCEPIECE,
     .names = " CamembertTokenizer ",
     .model_types = " camembert ",
     .roles = FAIRSEQ_ROLES,
     .before = ROLE_BOS,
     .after = ROLE_EOS,
     .layout = LAYOUT_CAMEMBERT},
    {.form = FORM_SENTENCEPIECE,
     .names = " AlbertTokenizer BarthezTokenizer BartphoTokenizer BertGenerationTokenizer "
              "BigBirdTokenizer CpmTokenizer DebertaV2Tokenizer FNetTokenizer LayoutXLMTokenizer "
              "M2M100Tokenizer MarianTokenizer MBartTokenizer MBart50Tokenizer NllbTokenizer "
              "PegasusTokenizer PLBartTokenizer ReformerTokenizer RemBertTokenizer "
              "SeamlessM4TTokenizer SiglipTokenizer Speech2TextTokenizer UdopTokenizer "
              "XGLMTokenizer XLNetTokenizer ",
     .model_types = " albert barthez bartpho big_bird deberta-v2 fnet marian mbart m2m_100 nllb "
                    "pegasus reformer rembert xglm xlnet ",
     .layout = LAYOUT_UNKNOWN},
    /* ---- Byte-level BPE ---- */
    {.form = FORM_BYTE_BPE,
     .names = " GPT2Tokenizer CodeGenTokenizer ",
     .model_types = " gpt2 gpt_bigcode gpt_neo gptj codegen starcoder2 phi opt ",
     .roles = {[ROLE_BOS] = "<|endoftext|>",
               [ROLE_EOS] = "<|endoftext|>",
               [ROLE_UNKNOWN] = "<|endoftext|>"}},
    {.form = FORM_BYTE_BPE,
     .names = " Qwen2Tokenizer ",
     .model_types = " qwen2 qwen2_moe qwen3 qwen3_moe qwen2_vl qwen2_5_vl ",
     .roles = {[ROLE_EOS] = "<|endoftext|>",
               [ROLE_UNKNOWN] = "<|endoftext|>",
               [ROLE_PAD] = "<|endoftext|>"},
     .pattern = PATTERN_QWEN2,
     .compose = true},
    {.form = FORM_BYTE_BPE,
     .names = " RobertaTokenizer BartTokenizer LayoutLMv3Tokenizer LEDTokenizer "
              "LongformerTokenizer MvpTokenizer ",
     .model_types = " roberta bart longformer led mvp ",
     .roles = FAIRSEQ_ROLES,
     .before = ROLE_CLASSIFY,
     .after = ROLE_SEPARATOR},
    {.form = FORM_BYTE_BPE,
     .names = " WhisperTokenizer ",
     .model_types = " whisper ",
     .roles = {[ROLE_BOS] = "<|endoftext|>",
               [ROLE_EOS] = "<|endoftext|>",
               [ROLE_UNKNOWN] = "<|endoftext|>"},
     .prefix = "<|startoftranscript|> <|notimestamps|>",
     .after = ROLE_EOS},
    /* ---- WordPiece ---- */
    {.form = FORM_WORDPIECE,
     .names = " BertTokenizer ConvBertTokenizer DistilBertTokenizer DPRContextEncoderTokenizer "
              "DPRQuestionEncoderTokenizer DPRReaderTokenizer ElectraTokenizer LayoutLMTokenizer "
              "LxmertTokenizer MobileBertTokenizer SqueezeBertTokenizer ",
     .model_types = " bert convbert distilbert dpr electra layoutlm lxmert mobilebert "
                    "nomic_bert squeezebert ",
     .roles = {[ROLE_UNKNOWN] = "[UNK]",
               [ROLE_SEPARATOR] = "[SEP]",
               [ROLE_PAD] = "[PAD]",
               [ROLE_CLASSIFY] = "[CLS]",
               [ROLE_MASK] = "[MASK]"},
     .before = ROLE_CLASSIFY,
     .after = ROLE_SEPARATOR},
    {.form = FORM_WORDPIECE,
     .names = " MPNetTokenizer ",
     .model_types = " mpnet ",
     .roles = {[ROLE_BOS] = "<s>",
               [ROLE_EOS] = "</s>",
               [ROLE_UNKNOWN] = "[UNK]",
               [ROLE_SEPARATOR] = "</s>",
               [ROLE_PAD] = "<pad>",
               [ROLE_CLASSIFY] = "<s>",
               [ROLE_MASK] = "<mask>"},
     .before = ROLE_CLASSIFY,
     .after = ROLE_SEPARATOR},
    /* ---- tiktoken ---- */
    {.form = FORM_TIKTOKEN,
     .names = " LlamaTokenizer ",
     .model_types = " llama llama4_text mllama ",
     .roles = {[ROLE_BOS] = "<|begin_of_text|>", [ROLE_EOS] = "<|end_of_text|>"},
     .add_bos = true,
     .pattern = PATTERN_LLAMA3,
     .special = llama3_series,
     .rank_count = 128000},
    {.form = FORM_TIKTOKEN,
     .names = " QWenTokenizer qwen.tiktoken ",
     .model_types = " qwen ",
     .roles = {[ROLE_EOS] = "<|endoftext|>"},
     .pattern = PATTERN_QWEN2,
     .compose = true,
     .special = qwen_series,
     .rank_count = 151643},
    {.form = FORM_TIKTOKEN,
     .names = " TikTokenTokenizer ",
     .model_types = " kimi_k2 kimi_k25 kimi_vl kimi_linear ",
     .roles = {[ROLE_BOS] = "[BOS]",
               [ROLE_EOS] = "[EOS]",
               [ROLE_UNKNOWN] = "[UNK]",
               [ROLE_PAD] = "[PAD]"},
     .pattern = PATTERN_KIMI},
    {.form = FORM_TIKTOKEN,
     .names = " ChatGLM4Tokenizer ",
     .model_types = " chatglm ",
     .roles = {[ROLE_EOS] = "<|endoftext|>", [ROLE_PAD] = "<|endoftext|>"},
     .prefix = "[gMASK] <sop>",
     .pattern = PATTERN_LLAMA3},
    {.form = FORM_TIKTOKEN,
     .names = " cl100k_base.tiktoken ",
     .model_types = "",
     .roles = {[ROLE_EOS] = "<|endoftext|>"},
     .pattern = PATTERN_LLAMA3,
     .special = cl100k_series,
     .rank_count = 100256},
    {.form = FORM_TIKTOKEN,
     .names = " o200k_base.tiktoken ",
     .model_types = " gpt_oss ",
     .roles = {[ROLE_EOS] = "<|endoftext|>"},
     .pattern = PATTERN_GPT4O,
     .special = o200k_series,
     .rank_count = 199998},
    {.form = FORM_TIKTOKEN,
     .names = " r50k_base.tiktoken gpt2.tiktoken ",
     .model_types = "",
     .roles = {[ROLE_EOS] = "<|endoftext|>"},
     .special = gpt2_series,
     .rank_count = 50256},
    /* ---- Mistral's tekken.json, which says the rest itself ---- */
    {.form = FORM_TEKKEN,
     .names = " tekken.json ",
     .model_types = "",
     .roles =
         {[ROLE_BOS] = "<s>", [ROLE_EOS] = "</s>", [ROLE_UNKNOWN] = "<unk>", [ROLE_PAD] = "<pad>"},
     .add_bos = true},
};

/* Any other class of SentencePiece models: as the file says. */
static const struct tokenizer_class plain_sentencepiece = {
    .form = FORM_SENTENCEPIECE, .names = "", .model_types = "", .add_bos = true};

/* Whether a list in spaces has a name. */
static bool has_name(const char *list, const char *name, size_t length)
{
    for (const char *at = list; at != NULL && *at != '\0'; at += strcspn(at, " ")) {
        at += strspn(at, " ");
        if (length > 0 && strcspn(at, " ") == length && memcmp(at, name, length) == 0) {
            return true;
        }
    }
    return false;
}

static const struct tokenizer_class *find_row(enum tokenizer_form form, bool by_class,
                                              const char *name, size_t length)
{
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        const char *list = by_class ? classes[i].names : classes[i].model_types;
        if (classes[i].form == form && has_name(list, name, length)) {
            return &classes[i];
        }
    }
    return NULL;
}

/* Length of a class's name without the end that says that it is the fast one. */
static size_t class_length(const char *name)
{
    size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, "Fast") == 0 ? length - 4 : length;
}

/* Names that any tokenizer may be saved under. */
static bool says_nothing(const char *name)
{
    static const char anything[] =
        " PreTrainedTokenizer TokenizersBackend SentencePieceBackend AutoTokenizer ";
    return name[0] == '\0' || has_name(anything, name, class_length(name));
}

static status append_known(enum tokenizer_form form, struct buffer *out)
{
    for (size_t i = 0; i < COUNT_OF(classes); i++) {
        const struct tokenizer_class *row = &classes[i];
        if (row->form == form && row->layout != LAYOUT_UNKNOWN) {
            TRY(buffer_append(out, row->names, strlen(row->names) - 1));
        }
    }
    return STATUS_OK;
}

static status refuse(enum tokenizer_form form, const char *class_name, const char *model_type)
{
    struct buffer known = {0};
    TRY(append_known(form, &known));
    if (!says_nothing(class_name)) {
        status_fail(STATUS_UNSUPPORTED,
                    "the rules of tokenizer_class \"%.60s\" are not known (known:%s)", class_name,
                    known.data);
    } else {
        status_fail(STATUS_UNSUPPORTED,
                    "neither tokenizer_class in tokenizer_config.json nor model_type \"%.60s\" of "
                    "config.json says how texts are split (known classes:%s)",
                    model_type, known.data);
    }
    buffer_destroy(&known);
    return STATUS_UNSUPPORTED;
}

/* What is known of the class or, where the class says nothing, of the model or the file. */
static const struct tokenizer_class *find_class(const struct tokenizer_source *source,
                                                enum tokenizer_form form, const char *class_name,
                                                const char *model_type)
{
    const char *file = source->files->name;
    const struct tokenizer_class *row = find_row(form, true, file, strlen(file));
    if (row == NULL && !says_nothing(class_name)) {
        row = find_row(form, true, class_name, class_length(class_name));
    } else if (row == NULL) {
        row = find_row(form, false, model_type, strlen(model_type));
    }
    /* This name is used where ids are not the file's own. */
    bool own_ids = form == FORM_SENTENCEPIECE && strcmp(file, "sentencepiece.bpe.model") != 0;
    return row == NULL && own_ids ? &plain_sentencepiece : row;
}

status tokenizer_class_find(struct tokenizer_source *source, enum tokenizer_form form)
{
    const char *class_name = json_string(json_get(source->config, "tokenizer_class"));
    const char *model_type = source->files->model_type;
    class_name = class_name != NULL ? class_name : "";
    model_type = model_type != NULL ? model_type : "";
    source->class_ = find_class(source, form, class_name, model_type);
    return source->class_ != NULL && source->class_->layout != LAYOUT_UNKNOWN
               ? STATUS_OK
               : refuse(form, class_name, model_type);
}
