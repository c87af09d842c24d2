"""Keys that people bring along from other trainers, and what they are called here (RC108).

Sources: configuration files of llm-foundry, Composer, axolotl, Hugging Face `TrainingArguments` and `PretrainedConfig`,
nanoGPT, Megatron-LM, torchtitan, OLMo.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

__all__ = ["GONE", "RENAMED"]

_TABLE: Final = {
    "name": "run_name experiment_name job_name",
    "seed": "random_seed global_seed data_seed",
    "extends": "include includes inherit inherits base defaults _base_ base_config",
    "variables": "vars",
    "model.size": "num_parameters n_params model_size",
    "model.family": "model_type architecture arch",
    "model.hidden_size": "d_model n_embd dim emb_dim hidden_dim embedding_size",
    "model.num_layers": "n_layers n_layer num_hidden_layers layers depth",
    "model.num_heads": "n_heads n_head num_attention_heads heads",
    "model.num_kv_heads": "n_kv_heads num_key_value_heads kv_n_heads num_query_groups",
    "model.intermediate_size": "d_ff ffn_dim n_inner ffn_hidden_size expansion_ratio",
    "model.tie_embeddings": "tie_word_embeddings weight_tying",
    "model.dropout": "resid_pdrop attn_pdrop embd_pdrop hidden_dropout",
    "model.attention": "attn_impl attn_implementation flash_attention use_flash_attention attn_config",
    "model.init_std": "initializer_range init_method_std",
    "model.vocab_size": "padded_vocab_size n_vocab",
    "model.start": "base_model model_name_or_path pretrained_model_name_or_path init_from pretrained",
    "tokenizer": "tokenizer_name tokenizer_config tokenizer_path tokenizer_name_or_path",
    "data.sequence_length": "max_seq_len max_seq_length seq_len seq_length sequence_len max_length block_size n_ctx"
    " context_length n_positions max_position_embeddings max_sequence_length",
    "data.sources": "datasets dataset train_dataset train_loader streams data_path train_data",
    "data.mixture": "mix data_mix proportions interleave_probs weights_schedule",
    "data.selection.deduplicate": "dedup dedup_exact",
    "budget.tokens": "max_tokens total_tokens num_tokens train_tokens max_train_tokens n_tokens",
    "budget.max_cost": "max_usd max_price",
    "budget.cost": "budget_usd spend",
    "budget.time": "deadline deadline_days",
    "budget.match_chinchilla": "chinchilla_params chinchilla",
    "budget.constraints.max_parameters": "max_params",
    "budget.constraints.min_parameters": "min_params",
    "budget.constraints.max_tokens_per_parameter": "tokens_per_param_max",
    "hardware.gpu": "gpu_type accelerator device_type gpus_type",
    "hardware.count": "num_gpus n_gpus gpus gpu_num world_size num_devices",
    "hardware.per_node": "gpus_per_node nproc_per_node devices_per_node",
    "hardware.price": "price_per_gpu_hour gpu_price cost_per_gpu_hour usd_per_gpu_hour price_per_hour",
    "training.batch": "global_train_batch_size global_batch_size train_batch_size batch_size total_batch_size"
    " global_batch_tokens",
    "training.microbatch": "device_train_microbatch_size micro_batch_size per_device_train_batch_size"
    " device_microbatch_size microbatch_size micro_batch",
    "training.duration": "max_duration max_steps num_train_epochs num_epochs epochs max_iters train_iters n_epochs"
    " steps",
    "training.optimizer": "optimizers optim",
    "training.optimizer.lr": "learning_rate max_lr peak_lr base_lr",
    "training.optimizer.betas": "adam_betas beta1 beta2 adam_beta1 adam_beta2 momentum",
    "training.optimizer.eps": "adam_epsilon adam_eps",
    "training.optimizer.weight_decay": "wd decay",
    "training.schedule": "scheduler lr_scheduler schedulers lr_schedule",
    "training.schedule.kind": "lr_scheduler_type lr_decay_style",
    "training.schedule.warmup": "warmup_steps warmup_ratio t_warmup num_warmup_steps warmup_iters lr_warmup",
    "training.schedule.cooldown": "decay_steps t_cooldown cooldown_steps",
    "training.schedule.final": "alpha_f min_lr min_lr_ratio min_lr_rate final_lr",
    "training.gradient_clipping": "max_grad_norm grad_clip gradient_clip_val clip_grad clip_norm clip_grad_norm"
    " gradient_clip",
    "training.activation_checkpointing": "gradient_checkpointing recompute activation_checkpoint",
    "training.compile": "torch_compile compile_config",
    "precision": "bf16 fp16 mixed_precision dtype torch_dtype amp",
    "compression": "pruning sparsify quantization quantize qat ptq low_rank svd",
    "training.adapter": "lora qlora peft peft_config lora_config adapters",
    "training.adapter.rank": "lora_r lora_rank r",
    "training.adapter.alpha": "lora_alpha",
    "training.adapter.dropout": "lora_dropout",
    "training.adapter.targets": "target_modules lora_target_modules lora_target_linear",
    "training.adapter.rank_stabilized": "use_rslora",
    "distillation": "kd knowledge_distillation distill",
    "distillation.teacher": "teacher_model teacher_path",
    "sequence": "runs stages",
    "averaging": "ema swa weight_averaging",
    "evaluation": "eval evaluate eval_loader",
    "evaluation.interval": "eval_interval eval_steps evaluation_strategy eval_strategy val_check_interval",
    "evaluation.holdout": "val_set_size validation_split eval_split val_split",
    "evaluation.max_tokens": "eval_subset_num_batches eval_iters",
    "checkpoints": "checkpoint checkpointing",
    "checkpoints.interval": "save_interval save_steps save_strategy checkpoint_interval",
    "checkpoints.keep": "save_num_checkpoints_to_keep save_total_limit keep_last",
    "logging": "loggers report_to log",
    "logging.interval": "log_interval logging_steps log_every",
    "launch.workers": "num_workers dataloader_num_workers n_workers",
    "launch.cache": "cache_dir local_cache",
}

RENAMED: Final = MappingProxyType({old: path for path, names in _TABLE.items() for old in names.split()})
"""Name elsewhere -> path here."""

GONE: Final = MappingProxyType(
    {
        "gradient_accumulation_steps": "it follows from `training.batch` and `training.microbatch`",
        "grad_accum": "it follows from `training.batch` and `training.microbatch`",
        "fsdp": "the plan decides how the model is spread over devices; see `recipec plan`",
        "fsdp_config": "the plan decides how the model is spread over devices; see `recipec plan`",
        "parallelism_config": "the plan decides how the model is spread over devices; see `recipec plan`",
        "deepspeed": "the plan decides how the model is spread over devices; see `recipec plan`",
        "output_dir": "outputs go to `runs/<name>-<fingerprint>/`; choose the folder with `--runs`",
        "save_folder": "outputs go to `runs/<name>-<fingerprint>/`; choose the folder with `--runs`",
        "load_path": "a run resumes by itself from its own folder",
        "autoresume": "a run resumes by itself from its own folder",
        "resume_from_checkpoint": "a run resumes by itself from its own folder",
        "algorithms": "techniques have keys of their own: data.curriculum, training.gradient_clipping, compression,"
        " distillation, averaging",
        "callbacks": "logging, evaluation and checkpoints have keys of their own",
    }
)
"""Name elsewhere -> why no key is needed here."""
