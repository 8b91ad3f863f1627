#include "dicom_node/object/structure.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>
#include <system_error>
#include <vector>

#include "dicom_node/object/inflation.h"

namespace node::object {
namespace {

constexpr std::uint32_t kUndefinedLength = 0xFFFFFFFF;
constexpr std::uint32_t kItem = 0xFFFEE000, kItemDelimiter = 0xFFFEE00D, kSequenceDelimiter = 0xFFFEE0DD;
constexpr std::uint32_t kPixelData = 0x7FE00010;

// Bytes in order, forward only.
class Source {
 public:
  virtual ~Source() = default;
  // How many bytes were read; fewer than `size` only at the end.
  virtual std::size_t read(void* into, std::size_t size) = 0;
  virtual std::uint64_t skip(std::uint64_t size) = 0;
  // Where the bytes end if that is known, else the most there can be.
  virtual std::uint64_t end() const = 0;
  std::uint64_t position() const { return position_; }

 protected:
  std::uint64_t position_ = 0;
};

// What can be gone through again: an object that lies whole in a file or in memory.
class WholeSource : public Source {
 public:
  std::uint64_t skip(std::uint64_t size) override {
    const std::uint64_t part = std::min(size, end() - std::min(position_, end()));
    position_ += part;
    return part;
  }
  void rewind() { position_ = 0; }
};

class MemorySource : public WholeSource {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  std::size_t read(void* into, std::size_t size) override {
    const std::size_t part = std::min<std::uint64_t>(size, bytes_.size() - position_);
    if (part > 0) std::memcpy(into, bytes_.data() + position_, part);
    position_ += part;
    return part;
  }
  std::uint64_t end() const override { return bytes_.size(); }

 private:
  std::string_view bytes_;
};

class FileSource : public WholeSource {
 public:
  static Result<std::unique_ptr<FileSource>> open(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
      const std::string message = "open: " + std::generic_category().message(errno);
      return errno == ENOENT ? not_found(message) : internal_error(message);
    }
    std::unique_ptr<FileSource> source(new FileSource(descriptor));
    struct stat facts {};
    if (::fstat(descriptor, &facts) != 0) return internal_error("stat: " + std::generic_category().message(errno));
    if (!S_ISREG(facts.st_mode)) return invalid_argument("not a regular file");
    source->size_ = static_cast<std::uint64_t>(facts.st_size);
    return source;
  }
  ~FileSource() override { ::close(descriptor_); }

  std::size_t read(void* into, std::size_t size) override {
    auto* out = static_cast<char*>(into);
    std::size_t done = 0;
    while (done < size) {
      if (position_ < buffer_start_ || position_ >= buffer_start_ + buffer_size_) {
        const ssize_t got = ::pread(descriptor_, buffer_.data(), buffer_.size(), static_cast<off_t>(position_));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;  // A disk that fails looks like a file that ends: both are refused.
        buffer_start_ = position_;
        buffer_size_ = static_cast<std::size_t>(got);
      }
      const std::size_t offset = position_ - buffer_start_;
      const std::size_t part = std::min(size - done, buffer_size_ - offset);
      std::memcpy(out + done, buffer_.data() + offset, part);
      done += part;
      position_ += part;
    }
    return done;
  }
  std::uint64_t end() const override { return size_; }

 private:
  explicit FileSource(int descriptor) : descriptor_(descriptor), buffer_(64 * 1024) {}
  int descriptor_;
  std::uint64_t size_ = 0, buffer_start_ = 0;
  std::size_t buffer_size_ = 0;
  std::vector<char> buffer_;
};

class InflatingSource : public Source {
 public:
  InflatingSource(Source& packed, std::uint64_t bytes_max, std::uint64_t packed_bytes)
      : packed_(packed), bytes_max_(bytes_max), packed_bytes_(packed_bytes), in_(64 * 1024) {
    ready_ = inflateInit2(&stream_, -MAX_WBITS) == Z_OK;  // No zlib header: PS3.5 A.5.
  }
  ~InflatingSource() override {
    if (ready_) inflateEnd(&stream_);
  }
  InflatingSource(const InflatingSource&) = delete;
  InflatingSource& operator=(const InflatingSource&) = delete;

  std::size_t read(void* into, std::size_t size) override {
    if (!ready_ || failed_) return 0;
    size = static_cast<std::size_t>(std::min<std::uint64_t>(size, bytes_max_ - position_));
    stream_.next_out = static_cast<Bytef*>(into);
    stream_.avail_out = static_cast<uInt>(size);
    while (stream_.avail_out > 0) {
      if (stream_.avail_in == 0) {
        stream_.next_in = in_.data();
        stream_.avail_in = static_cast<uInt>(packed_.read(in_.data(), in_.size()));
      }
      if (inflate(&stream_, Z_NO_FLUSH) != Z_OK) {
        failed_ = true;  // Damaged, cut, or at its end.
        break;
      }
    }
    const std::size_t done = size - stream_.avail_out;
    position_ += done;
    return done;
  }
  std::uint64_t skip(std::uint64_t size) override {
    std::array<char, 16 * 1024> scratch;
    std::uint64_t done = 0;
    while (done < size) {
      const std::size_t part = static_cast<std::size_t>(std::min<std::uint64_t>(scratch.size(), size - done));
      const std::size_t got = read(scratch.data(), part);
      done += got;
      if (got < part) break;
    }
    return done;
  }
  std::uint64_t end() const override { return bytes_max_; }
  std::uint64_t packed_bytes() const { return packed_bytes_; }

 private:
  Source& packed_;
  std::uint64_t bytes_max_, packed_bytes_;
  std::vector<Bytef> in_;
  z_stream stream_{};
  bool ready_ = false, failed_ = false;
};

struct Encoding {
  bool explicit_vr = true, big_endian = false;
};

std::uint16_t get16(const unsigned char* p, bool big_endian) {
  return static_cast<std::uint16_t>(big_endian ? p[0] << 8 | p[1] : p[1] << 8 | p[0]);
}
std::uint32_t get32(const unsigned char* p, bool big_endian) {
  return big_endian ? std::uint32_t{get16(p, true)} << 16 | get16(p + 2, true)
                    : std::uint32_t{get16(p + 2, false)} << 16 | get16(p, false);
}

bool is_upper(unsigned char c) { return c >= 'A' && c <= 'Z'; }

// VRs with a 16 bit length (PS3.5 table 7.1-2); all others, unknown ones included, have 32 bits (7.1.2).
bool has_short_length(std::string_view vr) {
  static constexpr std::string_view kShort = "AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US ";
  const std::size_t at = kShort.find(vr);
  return at != std::string_view::npos && at % 3 == 0;
}

class Walk {
 public:
  Walk(const ReadLimits& limits, Structure& structure) : limits_(limits), structure_(structure) {}

  Status meta_group(Source& source) {
    std::uint64_t declared_end = std::numeric_limits<std::uint64_t>::max();
    while (true) {
      unsigned char header[12];
      const std::uint64_t at = source.position();
      // A look at the group is enough to know that the meta group is over; the caller reopens at `at`.
      if (source.read(header, 8) != 8) {
        if (source.position() == at) return invalid_argument("nothing behind the meta group");
        return failure("ends inside an element of the meta group", at);
      }
      if (get16(header, false) != 2) {
        meta_end_ = at;
        return ok_status();
      }
      NODE_RETURN_IF_ERROR(count(at));
      if (at >= declared_end) note_low_group(2);
      const std::uint16_t element = get16(header + 2, false);
      NODE_RETURN_IF_ERROR(count_order(meta_order_, element, at));
      const std::string_view vr(reinterpret_cast<char*>(header) + 4, 2);
      if (!is_upper(header[4]) || !is_upper(header[5])) return failure("no Explicit VR in the meta group", at);
      std::uint32_t length = get16(header + 6, false);
      if (!has_short_length(vr)) {
        if (source.read(header + 8, 4) != 4) return failure("ends inside an element of the meta group", at);
        length = get32(header + 8, false);
      }
      if (length > source.end() - source.position()) return failure("a length of the meta group past the end", at);
      if (element == 0x0000 && length == 4) {
        unsigned char value[4];
        if (source.read(value, 4) != 4) return failure("ends inside the meta group", at);
        if (get32(value, false) > source.end() - source.position())
          return failure("the meta group's length past the end", at);
        declared_end = source.position() + get32(value, false);
      } else if (element == 0x0010) {
        if (length > 64) return failure("a Transfer Syntax UID of more than 64 characters", at);
        std::string uid(length, '\0');
        if (source.read(uid.data(), length) != length) return failure("ends inside the meta group", at);
        while (!uid.empty() && (uid.back() == '\0' || uid.back() == ' ')) uid.pop_back();
        structure_.transfer_syntax_uid = uid;
      } else if (source.skip(length) != length) {
        return failure("ends inside the meta group", at);
      }
    }
  }
  std::uint64_t meta_end() const { return meta_end_; }

  Status data_set(Source& source, Encoding encoding) {
    source_ = &source;
    start_ = source.position();
    levels_ = {Level{source.end(), encoding}};
    while (true) {
      Status status = step();
      if (done_) return status;
      if (status.ok()) continue;
      // In Implicit VR a private value of bytes may look like a sequence: then it is one only if it reads as one.
      const auto tentative = std::find_if(levels_.begin(), levels_.end(), [](const Level& l) { return l.tentative; });
      if (fatal_ || tentative == levels_.end() || source.position() > tentative->end) return status;
      const std::uint64_t rest = tentative->end - source.position();
      if (source.skip(rest) != rest) return status;
      levels_.erase(tentative, levels_.end());
    }
  }

 private:
  struct Order {  // Of the elements so far of an item, the data set or the meta group.
    std::uint32_t greatest_tag = 0;
    std::uint64_t elements = 0;
  };
  struct Level {
    std::uint64_t end = 0;  // Where it must be over; of an undefined length that of what encloses it.
    Encoding encoding;
    bool sequence = false;   // Else an item, or the data set.
    bool undefined = false;  // Ends by a delimiter.
    bool tentative = false;
    Order order{};
  };

  // One element, item or delimiter. Sets done_ at the end of what concerns us.
  Status step() {
    const Level level = levels_.back();  // A copy: entering a level moves them.
    const std::uint64_t at = source_->position();
    if (at >= level.end && levels_.size() > 1 && !level.undefined) {
      levels_.pop_back();
      return ok_status();
    }
    unsigned char header[12];
    const std::size_t got = source_->read(header, 8);
    if (got == 0 && levels_.size() == 1 && !inflated_to_limit(at)) {
      done_ = true;
      return ok_status();
    }
    if (got != 8 || source_->position() > level.end) return past_end("ends inside an element header", 0, at);
    NODE_RETURN_IF_ERROR(count(at));
    const bool big_endian = level.encoding.big_endian;
    const std::uint32_t tag = std::uint32_t{get16(header, big_endian)} << 16 | get16(header + 2, big_endian);

    // The first group is a low one (0008); read in the wrong byte order it is a high one.
    const std::uint32_t group = tag >> 16;
    if (at == start_ && (group >> 8 | (group & 0xFF) << 8) < group) {
      return failure("another byte order than its transfer syntax says", at);
    }
    if (tag == kItem || tag == kItemDelimiter || tag == kSequenceDelimiter) {
      const std::uint32_t length = get32(header + 4, big_endian);
      if (tag == kItem && level.sequence) return enter(Level{0, level.encoding}, length, at);
      if (tag == kSequenceDelimiter && level.sequence && level.undefined) {
        levels_.pop_back();
        return ok_status();
      }
      if (tag == kItemDelimiter && !level.sequence && level.undefined) {
        levels_.pop_back();
        return ok_status();
      }
      return failure("an item or delimiter out of place", at);
    }
    if (level.sequence) return failure("something else than an item in a sequence", at);
    if (levels_.size() == 1 && tag > kPixelData) {  // DCMTK is told to stop here, too.
      done_ = true;
      return ok_status();
    }
    if (levels_.size() == 1 && structure_.has_pixel_data) {
      fatal_ = true;
      return failure("an element behind the pixel data that belongs before them", at);
    }
    NODE_RETURN_IF_ERROR(count_order(levels_.back().order, tag, at));
    if (levels_.size() == 1 && group < 8) note_low_group(static_cast<std::uint16_t>(group));

    std::string_view vr = "--";
    std::uint32_t length = get32(header + 4, big_endian);
    if (level.encoding.explicit_vr) {
      vr = std::string_view(reinterpret_cast<char*>(header) + 4, 2);
      length = get16(header + 6, big_endian);
      const bool letters = is_upper(header[4]) && is_upper(header[5]);
      if (letters && !has_short_length(vr)) {
        if (source_->read(header + 8, 4) != 4) return failure("ends inside an element header", at);
        length = get32(header + 8, big_endian);
      }
    }
    if (tag == kPixelData && (levels_.size() == 1 || length == kUndefinedLength)) return pixel_data(length, at);
    if (vr == "SQ") return enter(Level{0, level.encoding, true}, length, at);
    if (length == kUndefinedLength) {
      // UN of undefined length is a sequence in Implicit VR Little Endian (PS3.5 6.2.2).
      if (vr == "--") return enter(Level{0, level.encoding, true}, length, at);
      if (vr == "UN") return enter(Level{0, Encoding{false, false}, true}, length, at);
      return failure("an undefined length where none may be", at);
    }
    if (length > remaining()) return past_end("a length past the end of what holds it", length, at);
    if (!level.encoding.explicit_vr && length >= 8) {
      unsigned char first[8];
      if (source_->read(first, 8) != 8) return failure("ends inside a value", at);
      const std::uint32_t inner = std::uint32_t{get16(first, big_endian)} << 16 | get16(first + 2, big_endian);
      if (inner == kItem) {
        Level sequence{at + 8 + length, level.encoding, true};
        sequence.tentative = true;
        NODE_RETURN_IF_ERROR(push(sequence, at));
        return enter(Level{0, level.encoding}, get32(first + 4, big_endian), at + 8);
      }
      length -= 8;
    }
    return source_->skip(length) == length ? ok_status() : failure("ends inside a value", at);
  }

  std::uint64_t remaining() const {
    const std::uint64_t position = source_->position(), end = levels_.back().end;
    return position < end ? end - position : 0;
  }

  Status enter(Level level, std::uint32_t length, std::uint64_t at) {
    level.undefined = length == kUndefinedLength;
    if (!level.undefined && length > remaining())
      return past_end("a sequence or item past the end of what holds it", length, at);
    level.end = level.undefined ? levels_.back().end : source_->position() + length;
    return push(level, at);
  }

  Status push(Level level, std::uint64_t at) {
    levels_.push_back(level);
    const auto depth = std::count_if(levels_.begin(), levels_.end(), [](const Level& l) { return l.sequence; });
    if (depth <= limits_.sequence_depth_max) return ok_status();
    fatal_ = true;
    return failure("sequences nested more than " + std::to_string(limits_.sequence_depth_max) + " deep", at);
  }

  Status pixel_data(std::uint32_t length, std::uint64_t at) {
    const bool own = levels_.size() == 1;  // Else those of an icon, which must be whole.
    if (!own) {
      bool cut = false;
      std::uint64_t bytes = 0;
      std::vector<Structure::Fragment> found;
      NODE_RETURN_IF_ERROR(fragments(cut, bytes, found));
      return cut ? failure("ends inside the pixel data of an item", at) : ok_status();
    }
    structure_.has_pixel_data = true;
    structure_.encapsulated = length == kUndefinedLength;
    if (structure_.encapsulated) {
      NODE_RETURN_IF_ERROR(fragments(structure_.cut, structure_.pixel_data_bytes, structure_.fragments));
    } else {
      structure_.pixel_data_offset = source_->position();
      structure_.pixel_data_bytes = source_->skip(length);
      structure_.cut = structure_.pixel_data_bytes != length;
    }
    done_ = structure_.cut;
    if (structure_.cut && inflated_to_limit(source_->position())) return past_end("", 0, at);
    return ok_status();
  }

  // The first item is the Basic Offset Table. Only running out of elements is an error: a cut is a fact.
  Status fragments(bool& cut, std::uint64_t& bytes, std::vector<Structure::Fragment>& found) {
    const bool big_endian = levels_.back().encoding.big_endian;
    for (bool table = true;; table = false) {
      unsigned char header[8];
      const std::uint64_t at = source_->position();
      cut = true;
      if (source_->read(header, 8) != 8) return ok_status();
      fatal_ = true;
      NODE_RETURN_IF_ERROR(count(at));
      fatal_ = false;
      const std::uint32_t tag = std::uint32_t{get16(header, big_endian)} << 16 | get16(header + 2, big_endian);
      const std::uint32_t length = get32(header + 4, big_endian);
      if (tag == kSequenceDelimiter) {
        cut = false;
        return ok_status();
      }
      if (tag != kItem) return ok_status();
      found.push_back({source_->position(), length});
      const std::uint64_t got = source_->skip(length);
      if (!table) bytes += got;
      if (got != length) return ok_status();
    }
  }

  void note_low_group(std::uint16_t group) {
    if (!structure_.low_group) structure_.low_group = group;
  }

  Status count(std::uint64_t at) {
    if (++elements_ <= limits_.elements_max) return ok_status();
    fatal_ = true;
    return failure("more than " + std::to_string(limits_.elements_max) + " elements", at);
  }

  // DCMTK looks for the place of each element from the end of those before it: one that belongs further up costs a walk
  // along them, and so counts the more, the more there are.
  Status count_order(Order& order, std::uint32_t tag, std::uint64_t at) {
    const std::uint64_t before = order.elements++;
    if (tag >= order.greatest_tag) {
      order.greatest_tag = tag;
      return ok_status();
    }
    out_of_order_ += 1 + before / 1000;
    if (out_of_order_ <= limits_.out_of_order_max) return ok_status();
    fatal_ = true;
    return failure("too many elements out of ascending order", at);
  }

  // `what`, but where it is the limit of inflating that was reached.
  Status past_end(std::string_view what, std::uint32_t length, std::uint64_t at) const {
    if (!inflated_to_limit(source_->position() + length)) return failure(what, at);
    const auto& inflating = dynamic_cast<const InflatingSource&>(*source_);
    return failure("inflates to more than " + std::to_string(inflating.end()) + " bytes, the most for its " +
                       std::to_string(inflating.packed_bytes()) + " deflated ones",
                   at);
  }

  bool inflated_to_limit(std::uint64_t position) const {
    const auto* inflating = dynamic_cast<const InflatingSource*>(source_);
    return inflating != nullptr && position >= inflating->end();
  }

  static Status failure(std::string_view what, std::uint64_t at) {
    return invalid_argument("not readable as DICOM: " + std::string(what) + ", at byte " + std::to_string(at));
  }

  const ReadLimits& limits_;
  Structure& structure_;
  Source* source_ = nullptr;
  std::vector<Level> levels_;
  std::uint64_t elements_ = 0, out_of_order_ = 0, meta_end_ = 0, start_ = 0;
  Order meta_order_;
  bool done_ = false, fatal_ = false;
};

// Of a data set without a Transfer Syntax UID, from its first element. PS3.10 has no such file; archives do.
Result<Encoding> guess_encoding(const unsigned char* first) {
  const bool big_endian = first[0] == 0 && first[1] != 0;
  if (get16(first, big_endian) != 8) return invalid_argument("not a DICOM file");
  return Encoding{is_upper(first[4]) && is_upper(first[5]), big_endian};
}

Result<Structure> walk_object(WholeSource& object, const ReadLimits& limits) {
  Structure structure;
  Walk walk(limits, structure);

  unsigned char start[140] = {};
  const std::size_t got = object.read(start, sizeof start);
  object.rewind();
  const bool magic = got == sizeof start && std::memcmp(start + 128, "DICM", 4) == 0;
  const auto plausible = [](const unsigned char* p) {
    return get16(p, false) == 2 || get16(p, false) == 8 || get16(p, true) == 8;
  };
  if (magic && plausible(start + 132)) object.skip(132);  // "DICM" may also stand there by chance.
  const unsigned char* first = start + object.position();
  if (got < object.position() + 8) return invalid_argument("not a DICOM file");

  if (get16(first, false) == 2) {
    NODE_RETURN_IF_ERROR(walk.meta_group(object));
    object.rewind();
    object.skip(walk.meta_end());
  }
  Encoding encoding;
  const std::string& uid = structure.transfer_syntax_uid;
  if (uid.empty()) {
    unsigned char head[8] = {};
    const std::uint64_t at = object.position();
    if (object.read(head, sizeof head) != sizeof head) return invalid_argument("not a DICOM file");
    NODE_ASSIGN_OR_RETURN(encoding, guess_encoding(head));
    object.rewind();
    object.skip(at);
  } else if (uid == "1.2.840.10008.1.2") {
    encoding = {false, false};
  } else if (uid == "1.2.840.10008.1.2.2") {
    encoding = {true, true};
  }
  if (uid == "1.2.840.10008.1.2.1.99") {
    const std::uint64_t packed = object.end() - object.position();
    InflatingSource inflated(object,
                             std::min({limits.inflated_bytes_max, inflated_bytes_max(),
                                       limits.inflated_bytes_free + packed * limits.inflated_ratio_max}),
                             packed);
    NODE_RETURN_IF_ERROR(walk.data_set(inflated, encoding));
    structure.inflated_bytes = inflated.position();
    structure.inflated_header_bytes =
        structure.has_pixel_data && !structure.encapsulated ? structure.pixel_data_offset : inflated.position();
    structure.pixel_data_offset = 0;
  } else {
    NODE_RETURN_IF_ERROR(walk.data_set(object, encoding));
  }
  return structure;
}

}  // namespace

Result<Structure> walk_structure(const std::filesystem::path& file, const ReadLimits& limits) {
  NODE_ASSIGN_OR_RETURN(const std::unique_ptr<FileSource> source, FileSource::open(file));
  return walk_object(*source, limits);
}

Result<Structure> walk_structure(std::string_view bytes, const ReadLimits& limits) {
  MemorySource source(bytes);
  return walk_object(source, limits);
}

Status check_structure(const std::filesystem::path& file, const ReadLimits& limits) {
  return walk_structure(file, limits).status();
}

}  // namespace node::object
