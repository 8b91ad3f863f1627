#include "dicom_node/report/canvas.h"

#include <cairo.h>
#include <pango/pangocairo.h>

#include <algorithm>
#include <opencv2/core.hpp>
#include <opencv2/imgproc.hpp>

#if defined(__SANITIZE_ADDRESS__)
// Fontconfig keeps what it has read of the fonts for the life of the process and frees none of it; it does not grow
// with the pictures drawn. Only our own leaks are to be reported. The name is LeakSanitizer's.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:libfontconfig.so"; }
#endif

namespace node::report {
namespace {

// By name, not "Sans", which a site's fontconfig may point anywhere: Latin, Greek and Cyrillic look the same on every
// node. What DejaVu lacks fontconfig finds in the fonts that are installed.
constexpr const char* kFontFamily = "DejaVu Sans";

struct Unref {
  void operator()(cairo_surface_t* surface) const { cairo_surface_destroy(surface); }
  void operator()(cairo_t* cairo) const { cairo_destroy(cairo); }
  void operator()(PangoContext* context) const { g_object_unref(context); }
  void operator()(PangoLayout* layout) const { g_object_unref(layout); }
  void operator()(PangoFontDescription* font) const { pango_font_description_free(font); }
  void operator()(cairo_font_options_t* options) const { cairo_font_options_destroy(options); }
};
template <typename T>
using Owned = std::unique_ptr<T, Unref>;

// Fixed font options: what a desktop's, a user's or the environment's settings prefer must not change an object's
// bytes.
Owned<PangoLayout> layout_as_is(const std::string& text, const TextStyle& style, int width) {
  Owned<PangoContext> context(pango_font_map_create_context(pango_cairo_font_map_get_default()));
  Owned<cairo_font_options_t> options(cairo_font_options_create());
  cairo_font_options_set_antialias(options.get(), CAIRO_ANTIALIAS_GRAY);
  cairo_font_options_set_hint_style(options.get(), CAIRO_HINT_STYLE_SLIGHT);
  cairo_font_options_set_hint_metrics(options.get(), CAIRO_HINT_METRICS_ON);
  pango_cairo_context_set_font_options(context.get(), options.get());
  pango_cairo_context_set_resolution(context.get(), 96);
  pango_context_set_language(context.get(), pango_language_from_string("en"));

  Owned<PangoLayout> layout(pango_layout_new(context.get()));
  Owned<PangoFontDescription> font(pango_font_description_new());
  pango_font_description_set_family_static(font.get(), kFontFamily);
  pango_font_description_set_absolute_size(font.get(), static_cast<double>(style.size_px) * PANGO_SCALE);
  pango_font_description_set_weight(font.get(), style.bold ? PANGO_WEIGHT_BOLD : PANGO_WEIGHT_NORMAL);
  pango_layout_set_font_description(layout.get(), font.get());
  pango_layout_set_wrap(layout.get(), PANGO_WRAP_WORD_CHAR);
  pango_layout_set_alignment(layout.get(), style.centred ? PANGO_ALIGN_CENTER : PANGO_ALIGN_LEFT);
  pango_layout_set_width(layout.get(), width < 0 ? -1 : width * PANGO_SCALE);
  pango_layout_set_text(layout.get(), text.data(), static_cast<int>(text.size()));
  return layout;
}

bool has_glyphs(PangoLayout& layout) { return pango_layout_get_unknown_glyphs_count(&layout) == 0; }

// The text with `each` in place of every character that no font here has. A box with its number in it, which is what
// Pango would draw, says nothing to a reader.
template <typename Each>
std::string without_missing(const std::string& text, Each each) {
  std::string shown;
  const char* const end = text.c_str() + text.size();
  for (const char* at = text.c_str(); at < end;) {
    const char* const next = g_utf8_next_char(at);
    const std::string character(at, next);
    at = next;
    shown += has_glyphs(*layout_as_is(character, {}, -1)) ? character : each(character);
  }
  return shown;
}

std::string valid_utf8(const std::string& text) {
  char* valid = g_utf8_make_valid(text.data(), static_cast<gssize>(text.size()));
  std::string copy = valid;
  g_free(valid);
  return copy;
}

Owned<PangoLayout> make_layout(const std::string& text, const TextStyle& style, int width) {
  const std::string valid = valid_utf8(text);
  Owned<PangoLayout> layout = layout_as_is(valid, style, width);
  if (has_glyphs(*layout)) return layout;
  return layout_as_is(without_missing(valid, [](const std::string&) { return "?"; }), style, width);
}

void set_colour(cairo_t* cairo, Colour colour) {
  cairo_set_source_rgb(cairo, colour[0] / 255.0, colour[1] / 255.0, colour[2] / 255.0);
}

// Writes what of the image lies on the surface, its top left corner at x, y. Cairo's pixels are 0x00RRGGBB in native
// byte order.
void copy_pixels(const RgbImage& image, cairo_surface_t* surface, int x, int y) {
  cairo_surface_flush(surface);
  unsigned char* data = cairo_image_surface_get_data(surface);
  if (data == nullptr) return;
  const int stride = cairo_image_surface_get_stride(surface);
  const int left = std::max(0, -x), right = std::min(image.columns, cairo_image_surface_get_width(surface) - x);
  const int top = std::max(0, -y), bottom = std::min(image.rows, cairo_image_surface_get_height(surface) - y);
  for (int row = top; row < bottom; ++row) {
    const std::uint8_t* from = image.pixels.data() + (static_cast<std::ptrdiff_t>(row) * image.columns + left) * 3;
    auto* to = reinterpret_cast<std::uint32_t*>(data + static_cast<std::ptrdiff_t>(y + row) * stride) + x;
    for (int column = left; column < right; ++column, from += 3)
      to[column] = static_cast<std::uint32_t>(from[0]) << 16 | static_cast<std::uint32_t>(from[1]) << 8 | from[2];
  }
  cairo_surface_mark_dirty(surface);
}

Owned<cairo_surface_t> to_surface(const RgbImage& image) {
  Owned<cairo_surface_t> surface(cairo_image_surface_create(CAIRO_FORMAT_RGB24, image.columns, image.rows));
  copy_pixels(image, surface.get(), 0, 0);
  return surface;
}

}  // namespace

struct Canvas::Impl {
  Owned<cairo_surface_t> surface;
  Owned<cairo_t> cairo;
};

int text_height(const std::string& text, const TextStyle& style, int width) {
  int height = 0;
  pango_layout_get_pixel_size(make_layout(text, style, width).get(), nullptr, &height);
  return height;
}

int text_width(const std::string& text, const TextStyle& style) {
  int width = 0;
  pango_layout_get_pixel_size(make_layout(text, style, -1).get(), &width, nullptr);
  return width;
}

std::string missing_characters(const std::string& text) {
  std::string missing;
  without_missing(valid_utf8(text), [&](const std::string& character) {
    if (missing.find(character) == std::string::npos) missing += character;
    return "";
  });
  return missing;
}

Canvas::Canvas(int rows, int columns, Colour background) : impl_(std::make_unique<Impl>()) {
  impl_->surface.reset(cairo_image_surface_create(CAIRO_FORMAT_RGB24, columns, rows));
  impl_->cairo.reset(cairo_create(impl_->surface.get()));
  set_colour(impl_->cairo.get(), background);
  cairo_paint(impl_->cairo.get());
}

Canvas::~Canvas() = default;

void Canvas::fill(const Rectangle& area, Colour colour) {
  set_colour(impl_->cairo.get(), colour);
  cairo_rectangle(impl_->cairo.get(), area.x, area.y, area.width, area.height);
  cairo_fill(impl_->cairo.get());
}

void Canvas::frame(const Rectangle& area, Colour colour) {
  set_colour(impl_->cairo.get(), colour);
  cairo_set_line_width(impl_->cairo.get(), 1);
  cairo_rectangle(impl_->cairo.get(), area.x + 0.5, area.y + 0.5, area.width - 1, area.height - 1);
  cairo_stroke(impl_->cairo.get());
}

void Canvas::put(const RgbImage& image, int x, int y) { copy_pixels(image, impl_->surface.get(), x, y); }

int Canvas::text(const std::string& text, const TextStyle& style, int x, int y, int width) {
  const Owned<PangoLayout> layout = make_layout(text, style, width);
  set_colour(impl_->cairo.get(), style.colour);
  cairo_move_to(impl_->cairo.get(), x, y);
  pango_cairo_show_layout(impl_->cairo.get(), layout.get());
  int height = 0;
  pango_layout_get_pixel_size(layout.get(), nullptr, &height);
  return height;
}

RgbImage Canvas::image() const {
  cairo_surface_flush(impl_->surface.get());
  RgbImage image;
  image.rows = cairo_image_surface_get_height(impl_->surface.get());
  image.columns = cairo_image_surface_get_width(impl_->surface.get());
  const unsigned char* data = cairo_image_surface_get_data(impl_->surface.get());
  const int stride = cairo_image_surface_get_stride(impl_->surface.get());
  image.pixels.resize(static_cast<std::size_t>(image.rows) * image.columns * 3);
  std::uint8_t* to = image.pixels.data();
  for (int y = 0; y < image.rows; ++y) {
    const auto* row = reinterpret_cast<const std::uint32_t*>(data + static_cast<std::ptrdiff_t>(y) * stride);
    for (int x = 0; x < image.columns; ++x, to += 3) {
      to[0] = static_cast<std::uint8_t>(row[x] >> 16);
      to[1] = static_cast<std::uint8_t>(row[x] >> 8);
      to[2] = static_cast<std::uint8_t>(row[x]);
    }
  }
  return image;
}

RgbImage to_rgb(int rows, int columns, const std::vector<std::uint8_t>& grey) {
  RgbImage image{rows, columns, {}};
  image.pixels.reserve(grey.size() * 3);
  for (const std::uint8_t value : grey) image.pixels.insert(image.pixels.end(), 3, value);
  return image;
}

RgbImage fit(const RgbImage& image, int rows_max, int columns_max) {
  const double scale = std::min({1.0, static_cast<double>(rows_max) / std::max(1, image.rows),
                                 static_cast<double>(columns_max) / std::max(1, image.columns)});
  if (scale >= 1.0) return image;
  RgbImage small;
  small.rows = std::max(1, static_cast<int>(image.rows * scale + 0.5));
  small.columns = std::max(1, static_cast<int>(image.columns * scale + 0.5));
  small.pixels.resize(static_cast<std::size_t>(small.rows) * small.columns * 3);
  // OpenCV takes no const pointer for a view; the input is only read.
  const cv::Mat from(image.rows, image.columns, CV_8UC3, const_cast<std::uint8_t*>(image.pixels.data()));
  cv::Mat to(small.rows, small.columns, CV_8UC3, small.pixels.data());
  cv::resize(from, to, to.size(), 0, 0, cv::INTER_AREA);
  return small;
}

RgbImage crop(const RgbImage& image, const Rectangle& area) {
  if (area.width <= 0 || area.height <= 0) return image;
  const int bottom = std::min(image.rows, area.y + area.height), right = std::min(image.columns, area.x + area.width);
  RgbImage part{bottom - area.y, right - area.x, {}};
  for (int y = area.y; y < bottom; ++y) {
    const auto row = image.pixels.begin() + (static_cast<std::ptrdiff_t>(y) * image.columns + area.x) * 3;
    part.pixels.insert(part.pixels.end(), row, row + static_cast<std::ptrdiff_t>(part.columns) * 3);
  }
  return part;
}

Result<std::string> encode_png(const RgbImage& image) {
  if (image.rows <= 0 || image.columns <= 0) return invalid_argument("encode PNG: no picture");
  const Owned<cairo_surface_t> surface = to_surface(image);
  std::string bytes;
  const auto append = [](void* into, const unsigned char* data, unsigned size) {
    static_cast<std::string*>(into)->append(reinterpret_cast<const char*>(data), size);
    return CAIRO_STATUS_SUCCESS;
  };
  const cairo_status_t status = cairo_surface_write_to_png_stream(surface.get(), append, &bytes);
  if (status == CAIRO_STATUS_SUCCESS) return bytes;
  const std::string message = std::string("encode PNG: ") + cairo_status_to_string(status);
  return status == CAIRO_STATUS_NO_MEMORY ? resource_exhausted(message) : internal_error(message);
}

Status write_png(const RgbImage& image, const std::filesystem::path& file) {
  if (image.rows <= 0 || image.columns <= 0) return invalid_argument("write " + file.string() + ": no picture");
  const Owned<cairo_surface_t> surface = to_surface(image);
  const cairo_status_t status = cairo_surface_write_to_png(surface.get(), file.c_str());
  if (status == CAIRO_STATUS_SUCCESS) return ok_status();
  const std::string message = "write " + file.string() + ": " + cairo_status_to_string(status);
  return status == CAIRO_STATUS_NO_MEMORY ? resource_exhausted(message) : internal_error(message);
}

}  // namespace node::report
