"""Spectrograms, waveforms and time series that a network takes, in the sizes that its configuration names."""

import torch

from costlab.models.providers.transformers.context import Context

SECOND = 16_000  # samples
SPECTRUM = 1024  # frames of a spectrogram
PART = (
    "audio_config",
    "audio_encoder_config",
    "speech_config",
    "encoder_config",
    "acoustic_config",
    "speech_encoder",
    "semantic_model_config",
)
BINS = (
    "num_mel_bins",
    "feature_projection_input_dim",
    "input_feat_size",
    "n_mels",
    "feature_size",
    "mel_bins",
    "input_dim",
)


def bins(context: Context) -> int:
    """Values of one frame of a spectrogram."""
    return int(context.entry(*BINS, default=80, part=PART))


def spectrogram(context: Context) -> torch.Tensor:
    """[1, frames, bins], or [1, bins, frames] where the first layer convolves over frames with the bins as channels."""
    size = bins(context)
    first = next((m for m in context.model.modules() if isinstance(m, torch.nn.Conv1d)), None)
    if first is None or first.in_channels != size:
        return context.floats(1, SPECTRUM, size)
    positions = context.entry("max_source_positions", default=1500, part=PART)
    return context.floats(1, size, first.stride[0] * 2 * positions)


def frames_mask(context: Context, name: str = "input_features") -> torch.Tensor:
    """[1, frames]: no frame of a spectrogram is padding."""
    shape = context.made[name].shape
    frames = shape[-1] if shape[1] == bins(context) else shape[1]
    return torch.ones(1, frames, dtype=torch.long)


def waveform(context: Context) -> torch.Tensor:
    """[1, samples], [1, channels, samples] for codecs, or [1, frames, bins] where the network takes a spectrogram."""
    if context.entry("num_mel_bins") and not context.entry("conv_dim", "upsample_rates", "num_filters"):
        return context.floats(1, context.entry("max_length", default=SPECTRUM), bins(context))
    count = context.entry("audio_channels", "in_channels", "num_channels")
    codec = context.entry("upsampling_ratios", "upsampling_rates", "downsampling_ratios", "codebook_size", "hop_length")
    return context.floats(1, count or 1, SECOND) if count or codec else context.floats(1, SECOND)


def series(context: Context) -> torch.Tensor:
    """[1, time, features] of a time series, or [1, time] of a univariate one."""
    lags = context.entry("lags_sequence", default=[0])
    length = context.entry("context_length", default=context.entry("prediction_length", default=64))
    past = length + (max(lags) if lags else 0)
    count = context.entry("num_input_channels", "input_size", default=1)
    return (
        context.floats(1, past, count) if count > 1 or context.entry("num_input_channels") else context.floats(1, past)
    )
