"""Grey pictures as PNG, the same bytes on every machine."""

import struct
import zlib


def png(image):
    """Bytes of an 8-bit grey PNG. The pixels are not compressed: compressors differ between machines."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = b"".join(b"\0" + line.tobytes() for line in image)
    blocks = [lines[k : k + 65535] for k in range(0, len(lines), 65535)]
    stored = b"".join(
        struct.pack("<BHH", k == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for k, block in enumerate(blocks)
    )
    header = struct.pack(">IIBBBBB", image.shape[1], image.shape[0], 8, 0, 0, 0, 0)
    data = b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
