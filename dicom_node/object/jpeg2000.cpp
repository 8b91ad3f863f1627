#include "dicom_node/object/jpeg2000.h"

#include <openjpeg.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <thread>

namespace node::object {
namespace {

struct Memory {
  std::string_view bytes;
  std::size_t position = 0;
};

OPJ_SIZE_T read_memory(void* into, OPJ_SIZE_T size, void* user) {
  auto& memory = *static_cast<Memory*>(user);
  const std::size_t part = std::min<std::size_t>(size, memory.bytes.size() - memory.position);
  if (part == 0) return static_cast<OPJ_SIZE_T>(-1);
  std::memcpy(into, memory.bytes.data() + memory.position, part);
  memory.position += part;
  return part;
}
OPJ_OFF_T skip_memory(OPJ_OFF_T size, void* user) {
  auto& memory = *static_cast<Memory*>(user);
  if (size < 0) return -1;
  const auto part = std::min<std::size_t>(static_cast<std::size_t>(size), memory.bytes.size() - memory.position);
  memory.position += part;
  return part == 0 && size > 0 ? -1 : static_cast<OPJ_OFF_T>(part);
}
OPJ_BOOL seek_memory(OPJ_OFF_T position, void* user) {
  auto& memory = *static_cast<Memory*>(user);
  if (position < 0 || static_cast<std::size_t>(position) > memory.bytes.size()) return OPJ_FALSE;
  memory.position = static_cast<std::size_t>(position);
  return OPJ_TRUE;
}
void ignore(const char*, void*) {}

template <typename Sample>
void copy_plane(const OPJ_INT32* plane, std::size_t count, Sample* into, std::size_t stride) {
  for (std::size_t i = 0; i < count; ++i) into[i * stride] = static_cast<Sample>(plane[i]);
}

template <auto destroy>
struct Destroy {
  template <typename T>
  void operator()(T* object) const {
    destroy(object);
  }
};

}  // namespace

Result<Jpeg2000Image> decode_jpeg2000(std::string_view codestream, int rows, int columns, int samples_per_pixel,
                                      int sample_bytes) try {
  const bool boxed = codestream.size() > 12 && codestream.substr(4, 4) == "jP  ";
  Memory memory{codestream};
  const std::unique_ptr<opj_stream_t, Destroy<opj_stream_destroy>> stream(opj_stream_create(64 * 1024, OPJ_TRUE));
  const std::unique_ptr<opj_codec_t, Destroy<opj_destroy_codec>> codec(
      opj_create_decompress(boxed ? OPJ_CODEC_JP2 : OPJ_CODEC_J2K));
  if (stream == nullptr || codec == nullptr) return resource_exhausted("JPEG 2000: no memory");
  opj_stream_set_user_data(stream.get(), &memory, nullptr);
  opj_stream_set_user_data_length(stream.get(), codestream.size());
  opj_stream_set_read_function(stream.get(), read_memory);
  opj_stream_set_skip_function(stream.get(), skip_memory);
  opj_stream_set_seek_function(stream.get(), seek_memory);
  opj_set_info_handler(codec.get(), ignore, nullptr);
  opj_set_warning_handler(codec.get(), ignore, nullptr);
  opj_set_error_handler(codec.get(), ignore, nullptr);
  opj_dparameters_t parameters;
  opj_set_default_decoder_parameters(&parameters);
  if (!opj_setup_decoder(codec.get(), &parameters)) return internal_error("JPEG 2000: set up the decoder");

  // Its blocks are independent; an exposure of 3000 x 2500 takes seconds on one core.
  constexpr unsigned kThreadsMax = 4;
  if (opj_has_thread_support())
    opj_codec_set_threads(codec.get(),
                          static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, kThreadsMax)));

  opj_image_t* header = nullptr;
  const bool read = opj_read_header(stream.get(), codec.get(), &header);
  const std::unique_ptr<opj_image_t, Destroy<opj_image_destroy>> image(header);
  if (!read || image == nullptr) return invalid_argument("the JPEG 2000 stream is damaged");
  const auto fits = [&](const opj_image_comp_t& component) {
    return component.w == static_cast<OPJ_UINT32>(columns) && component.h == static_cast<OPJ_UINT32>(rows);
  };
  if (image->numcomps < static_cast<OPJ_UINT32>(samples_per_pixel) || image->numcomps > 4)
    return invalid_argument("the JPEG 2000 stream has another number of components than the header says");
  for (OPJ_UINT32 c = 0; c < image->numcomps; ++c) {
    const opj_image_comp_t& component = image->comps[c];
    if (component.dx != 1 || component.dy != 1 || component.prec > 16)
      return unsupported("a JPEG 2000 stream with subsampled components or more than 16 bits");
    if (image->x1 - image->x0 != static_cast<OPJ_UINT32>(columns) ||
        image->y1 - image->y0 != static_cast<OPJ_UINT32>(rows) || !fits(component))
      return invalid_argument("the JPEG 2000 stream has another size than the header says");
  }
  if (!opj_decode(codec.get(), stream.get(), image.get())) return invalid_argument("the JPEG 2000 stream is damaged");
  opj_end_decompress(codec.get(), stream.get());

  Jpeg2000Image result;
  result.is_signed = image->comps[0].sgnd != 0;
  result.colour_transformed = samples_per_pixel == 3;  // OpenJPEG undoes the transform that the codestream names.
  const auto samples = static_cast<std::size_t>(samples_per_pixel);
  const auto pixels = static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns);
  result.bytes.resize(pixels * samples * static_cast<std::size_t>(sample_bytes));
  for (std::size_t c = 0; c < samples; ++c) {
    const opj_image_comp_t& component = image->comps[c];
    if (component.data == nullptr || !fits(component)) return invalid_argument("the JPEG 2000 stream is damaged");
    if (sample_bytes == 1) {
      copy_plane(component.data, pixels, result.bytes.data() + c, samples);
    } else {
      copy_plane(component.data, pixels, reinterpret_cast<std::uint16_t*>(result.bytes.data()) + c, samples);
    }
  }
  return result;
} catch (const std::bad_alloc&) {
  return resource_exhausted("JPEG 2000: no memory");
}

}  // namespace node::object
