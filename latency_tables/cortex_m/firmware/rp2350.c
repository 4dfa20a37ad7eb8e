/* What the RP2350's boot ROM looks for in the first 4 KB of flash: an image for its Arm cores (datasheet, 5.9.5). */
#include <stdint.h>

__attribute__((section(".vectors.image"), used)) const uint32_t ofa_image_definition[5] = {
    0xffffded3u, 0x10210142u, 0x000001ffu, 0x00000000u, 0xab123579u,
};
