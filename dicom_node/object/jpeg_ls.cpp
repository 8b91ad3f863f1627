#include "dicom_node/object/jpeg_ls.h"

#include <charls/charls.h>

#include <cstring>
#include <new>
#include <string_view>
#include <system_error>

namespace node::object {

Result<JpegLsImage> decode_jpeg_ls(std::string codestream, int rows, int columns, int samples_per_pixel,
                                   int sample_bytes) try {
  constexpr std::string_view kEndOfImage = "\xFF\xD9";  // No two bytes of a scan (ISO/IEC 14495-1 A.1).
  if (codestream.rfind(kEndOfImage) == std::string::npos) return invalid_argument("the JPEG-LS stream ends too early");
  codestream += kEndOfImage;  // CharLS before 2.4.4 reads on for ever in a scan without a marker behind it.
  const charls::jpegls_decoder decoder(codestream.data(), codestream.size());
  const charls::frame_info& frame = decoder.frame_info();
  if (frame.height != static_cast<std::uint32_t>(rows) || frame.width != static_cast<std::uint32_t>(columns))
    return invalid_argument("the JPEG-LS stream has another size than the header says");
  if (frame.component_count != samples_per_pixel)
    return invalid_argument("the JPEG-LS stream has another number of components than the header says");
  const std::size_t stream_bytes = frame.bits_per_sample > 8 ? 2 : 1, wanted = static_cast<std::size_t>(sample_bytes);
  if (stream_bytes > wanted) return invalid_argument("the JPEG-LS stream has more bits than the header says");

  JpegLsImage image;
  image.planar = samples_per_pixel > 1 && decoder.interleave_mode() == charls::interleave_mode::none;
  image.bytes.resize(decoder.destination_size() / stream_bytes * wanted);
  const std::size_t samples = image.bytes.size() / wanted;
  decoder.decode(image.bytes.data(), samples * stream_bytes);
  if (stream_bytes < wanted) {  // From the end, so that none is overwritten before it was read.
    for (std::size_t i = samples; i-- > 0;) {
      const std::uint16_t sample = image.bytes[i];
      std::memcpy(image.bytes.data() + 2 * i, &sample, sizeof sample);
    }
  }
  return image;
} catch (const std::bad_alloc&) {
  return resource_exhausted("JPEG-LS: no memory");
} catch (const std::system_error&) {  // charls::jpegls_error; its text names no more than this one.
  return invalid_argument("the JPEG-LS stream is damaged");
}

}  // namespace node::object
