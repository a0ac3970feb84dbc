"""The networks of other libraries that every run of the tests profiles."""

from __future__ import annotations

TORCHVISION = (
    "alexnet deeplabv3_resnet50 densenet121 efficientnet_b0 fcos_resnet50_fpn googlenet inception_v3"
    " lraspp_mobilenet_v3_large maxvit_t mnasnet1_0 mvit_v2_s quantized_resnet50 r2plus1d_18 raft_small"
    " regnet_y_400mf retinanet_resnet50_fpn s3d shufflenet_v2_x1_0 squeezenet1_1 ssdlite320_mobilenet_v3_large"
    " swin3d_t swin_v2_t vgg16 vit_b_16"
).split()

TIMM = (
    "beit_base_patch16_224 bat_resnext26ts botnet26t_256 cait_s24_224 coat_tiny coatnet_0_224 convit_tiny"
    " convmixer_768_32 convnext_tiny crossvit_tiny_240 cspdarknet53 davit_tiny dla34 dpn68 edgenext_small"
    " efficientformer_l1 efficientvit_b0 eva02_tiny_patch14_224 fastvit_t8 focalnet_tiny_srf gcvit_tiny gernet_s"
    " ghostnet_100 halonet26t hardcorenas_a hgnet_tiny hiera_tiny_224 hrnet_w18 inception_resnet_v2 inception_v4"
    " lambda_resnet26t levit_128 maxvit_nano_rw_256 mambaout_tiny mixer_b16_224 mobilenetv4_conv_small"
    " mobileone_s0 mobilevitv2_050 nasnetalarge nest_tiny nextvit_small nfnet_f0 pit_ti_224 pnasnet5large"
    " poolformer_s12 pvt_v2_b0 repvgg_a0 res2net50_26w_4s resnest14d resnetv2_50 rexnet_100 seresnet18"
    " sequencer2d_s skresnet18 starnet_s1 tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_pcpvt_small vgg11_bn"
    " visformer_tiny vitamin_small_224 volo_d1_224 xception41 xcit_nano_12_p8_224"
).split()

TRANSFORMERS = (
    "bart bert clip deepseek_v3 detr gpt2 gpt_oss llama longformer mamba mixtral recurrent_gemma segformer swin"
    " t5 wav2vec2 whisper xlnet"
).split()
