"""Adapters by PEFT with what they need."""

from faulty_peft import LLAMA, adapted, batch, bert, llama
from transformers import LlamaConfig, LlamaForCausalLM


def build_score_among_the_modules_to_save():
    return llama(modules_to_save=["score"])


def build_task_type_that_saves_the_head():
    return llama(task_type="SEQ_CLS")


def build_classifier_of_tokens_among_the_modules_to_save():
    return bert(modules_to_save=["classifier"])


def build_language_model_with_its_own_head():
    inputs = batch()
    inputs["labels"] = inputs["input_ids"].clone()
    model = LlamaForCausalLM(LlamaConfig(vocab_size=97, **LLAMA))
    return adapted(model, inputs, target_modules=["q_proj", "v_proj"])
