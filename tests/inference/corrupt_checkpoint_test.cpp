// A corpus of broken checkpoints, made here: each is refused by the name of file and tensor, and none crashes.
#include <sys/stat.h>

#include <cmath>
#include <limits>
#include <random>

#include "inference/checkpoint.h"
#include "tests/inference/checkpoint_fixture.h"

namespace node::inference {
namespace {

constexpr char kFile[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";
constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

Tensors good_tensors() { return classifier_tensors(1, 2); }

class CorruptCheckpoint : public CheckpointFiles {
 protected:
  Status open_with_entry(const std::string& key, const json& value) {
    return open_with_header([&](json& header, std::string&) { header[kSome][key] = value; });
  }
  Status open_with_weights(const std::string& bytes) {
    write_good();
    write_weights(bytes);
    return open();
  }
  Status open_with_text(const std::string& header) {
    return open_with_weights(header_length(header.size()) + header + safetensors_parts(good_tensors()).second);
  }
};

TEST_F(CorruptCheckpoint, TruncatedAtAndAroundEveryTensorsBoundary) {
  const auto [header, data] = safetensors_parts(good_tensors());
  const std::string whole = with_header(header, data);
  const std::size_t data_at = whole.size() - data.size();
  std::set<std::size_t> lengths{0, 1, 7, 8, 9, data_at - 1, data_at};
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__") continue;
    for (const std::size_t offset : tensor["data_offsets"].get<std::vector<std::size_t>>()) {
      lengths.insert({data_at + offset - 1, data_at + offset, data_at + offset + 1});
    }
  }
  std::size_t cut = 0;
  for (const std::size_t length : lengths) {
    SCOPED_TRACE(length);
    if (length >= whole.size()) continue;
    EXPECT_REFUSED(open_with_weights(whole.substr(0, length)), kDataLoss,
                   AllOf(HasSubstr(kFile), HasSubstr(length < data_at ? "truncated" : "tensor ")));
    ++cut;
  }
  EXPECT_GT(cut, 2 * good_tensors().size());
  EXPECT_REFUSED(open_with_weights(whole + "x"), kInvalidArgument,
                 AllOf(HasSubstr(kFile), HasSubstr("1 bytes that belong to no tensor")));
}

TEST_F(CorruptCheckpoint, LengthsOfTheHeaderThatCannotBe) {
  for (const std::uint64_t length : {std::uint64_t{1} << 60, kMost, kMost - 7, std::uint64_t{100'000'001}}) {
    SCOPED_TRACE(length);
    EXPECT_REFUSED(open_with_weights(header_length(length) + "{}"), kInvalidArgument, HasSubstr(kFile));
  }
  EXPECT_REFUSED(open_with_weights(header_length(3) + "{}"), kDataLoss, HasSubstr(kFile));
  EXPECT_REFUSED(open_with_weights(header_length(0) + "{}"), kInvalidArgument, HasSubstr(kFile));
  EXPECT_REFUSED(open_with_weights(header_length(2) + "{}"), kInvalidArgument, HasSubstr("missing"));
}

TEST_F(CorruptCheckpoint, HeadersThatAreNoHeaders) {
  for (const std::string text : {"{", "[]", "17", "null", "{\"a\":}", "\xff\xfe", "{\"a\": NaN}", "{\"\xff\": {}}"}) {
    SCOPED_TRACE(text);
    EXPECT_REFUSED(open_with_text(text), kInvalidArgument, AllOf(HasSubstr(kFile), HasSubstr("header")));
  }
  std::string open_ended, closed;
  for (int i = 0; i < 200'000; ++i) open_ended += "{\"a\":";
  closed = "{\"a\":" + std::string(200'000, '[') + std::string(200'000, ']') + "}";
  for (const std::string& deep : {std::string(200'000, '['), open_ended, closed}) {
    EXPECT_REFUSED(open_with_text(deep), kInvalidArgument, HasSubstr("nested too deeply"));
  }
  EXPECT_REFUSED(open_with_header([](json& header, std::string&) { header["__metadata__"]["format"] = "tf"; }),
                 kUnsupported, HasSubstr("format"));
  EXPECT_REFUSED(open_with_header([](json& header, std::string&) { header["__metadata__"] = 1; }), kInvalidArgument,
                 HasSubstr("__metadata__"));
}

TEST_F(CorruptCheckpoint, KeysThatOccurTwice) {
  const std::string text = safetensors_parts(good_tensors()).first.dump();
  const std::string some = "\"" + std::string(kSome) + "\":";
  std::string twice = text;
  twice.insert(1, some + "{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},");
  EXPECT_REFUSED(open_with_text(twice), kInvalidArgument, AllOf(HasSubstr(kFile), HasSubstr(kSome)));
  twice = text;
  twice.insert(text.find(some) + some.size() + 1, "\"dtype\":\"F16\",");
  EXPECT_REFUSED(open_with_text(twice), kInvalidArgument, AllOf(HasSubstr(kFile), HasSubstr("dtype")));

  write_good();
  std::string config = classifier_config(2).dump();
  config.insert(1, "\"hidden_act\":\"relu\",");
  write_file(path() / "config.json", config);
  EXPECT_REFUSED(open(), kInvalidArgument, AllOf(HasSubstr("config.json"), HasSubstr("hidden_act")));
}

TEST_F(CorruptCheckpoint, EntriesThatAreNoEntries) {
  const json whole = safetensors_parts(good_tensors()).first[kSome];
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    SCOPED_TRACE(key);
    const Status status = open_with_header([&](json& header, std::string&) { header[kSome].erase(key); });
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), AllOf(HasSubstr(kFile), HasSubstr(kSome), HasSubstr(key)));
    for (const json& value : {json(nullptr), json(true), json::object(), json("x"), json({1, "x"}), json({{1}, 2})}) {
      SCOPED_TRACE(value.dump());
      const Status wrong = open_with_entry(key, value);
      EXPECT_FALSE(wrong.ok());
      EXPECT_THAT(wrong.message(), AllOf(HasSubstr(kFile), HasSubstr(kSome)));
    }
  }
  for (const json& value : {json(nullptr), json(1), json::array(), json("x")}) {
    SCOPED_TRACE(value.dump());
    EXPECT_REFUSED(open_with_header([&](json& header, std::string&) { header[kSome] = value; }), kInvalidArgument,
                   AllOf(HasSubstr(kFile), HasSubstr(kSome)));
  }
}

TEST_F(CorruptCheckpoint, TypesThatAreNotOurs) {
  for (const char* type : {"F64", "I64", "I8", "U8", "BOOL", "F8_E4M3", "f32", ""}) {
    EXPECT_REFUSED(open_with_entry("dtype", type), kUnsupported,
                   AllOf(HasSubstr(kFile), HasSubstr(kSome), HasSubstr(type)));
  }
  for (const char* type : {"F16", "BF16"}) {  // Understood, but half as wide as what lies there.
    EXPECT_REFUSED(open_with_entry("dtype", type), kInvalidArgument, AllOf(HasSubstr(kFile), HasSubstr(kSome)));
  }
}

TEST_F(CorruptCheckpoint, OffsetsOutsideTheFileBackwardsAndOverlapping) {
  const std::size_t size = good_tensors()[kSome].bytes.size();
  const json offsets = safetensors_parts(good_tensors()).first[kSome]["data_offsets"];
  const std::size_t begin = offsets[0], end = offsets[1];
  EXPECT_REFUSED(open_with_entry("data_offsets", {1'000'000, 1'000'000 + size}), kDataLoss,
                 AllOf(HasSubstr(kFile), HasSubstr(kSome)));
  const std::vector<json> wrong{{end, begin},
                                {begin, end - 1},
                                {begin, end + 4},
                                {begin + 1, end},
                                {-4, 4},
                                {0, 1.5},
                                {0},
                                {0, 4, 8},
                                {kMost - size, kMost},
                                {kMost, size - 1},
                                {begin - 4, end - 4},
                                {begin + 4, end + 4}};
  for (const json& value : wrong) {
    SCOPED_TRACE(value.dump());
    const Status status = open_with_entry("data_offsets", value);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), AllOf(HasSubstr(kFile), HasSubstr("tensor ")));
  }
  EXPECT_REFUSED(open_with_entry("data_offsets", {begin - 4, end - 4}), kInvalidArgument, HasSubstr("overlaps"));
  EXPECT_REFUSED(open_with_entry("data_offsets", {0, size}), kInvalidArgument, HasSubstr("overlaps"));
}

TEST_F(CorruptCheckpoint, ShapesThatAreNegativeOverflowOrDoNotFit) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::vector<json> wrong{{1u << 31, 1u << 31, 1u << 31},
                                {most, 2},
                                {most},
                                {kMost, 1},
                                {-8, -16},
                                {8.0, 16},
                                {8, 17},
                                {0, 128},
                                {0, most},
                                json::array()};
  for (const json& value : wrong) {
    SCOPED_TRACE(value.dump());
    EXPECT_REFUSED(open_with_entry("shape", value), kInvalidArgument, AllOf(HasSubstr(kFile), HasSubstr(kSome)));
  }
  // As many numbers as there are bytes for, but of another shape.
  EXPECT_REFUSED(open_with_entry("shape", {2 * kHidden, kHidden}), kInvalidArgument,
                 AllOf(HasSubstr(kFile), HasSubstr(kSome), HasSubstr("16x8"), HasSubstr("8x16")));
  EXPECT_REFUSED(open_with_entry("shape", {1, kHidden, 2 * kHidden}), kInvalidArgument, HasSubstr(kSome));
}

TEST_F(CorruptCheckpoint, TensorsThatAreMissingOrTooMany) {
  for (const auto& [name, tensor] : good_tensors()) {
    SCOPED_TRACE(name);
    Tensors tensors = good_tensors();
    tensors.erase(name);
    write(classifier_config(2), tensors);
    EXPECT_REFUSED(open(), kInvalidArgument, AllOf(HasSubstr(path().string()), HasSubstr(name), HasSubstr("missing")));
  }
  for (const char* name : {"vit.encoder.layer.1.output.dense.bias", "decoder_pos_embed", "", "module.classifier.bias",
                           "vit.encoder.layer.", "vit.layers.0", "vit.layers.0."}) {
    Tensors tensors = good_tensors();
    tensors[name] = tensor_of({1}, {1});
    write(classifier_config(2), tensors);
    EXPECT_REFUSED(open(), kInvalidArgument, AllOf(HasSubstr(kFile), HasSubstr(name), HasSubstr("no such tensor")));
  }
  Tensors tensors = good_tensors();  // One tensor under the names of two versions.
  tensors["vit.layers.0.mlp.fc2.weight"] = tensors[kSome];
  write(classifier_config(2), tensors);
  EXPECT_REFUSED(open(), kInvalidArgument, AllOf(HasSubstr("vit.layers.0.mlp.fc2.weight"), HasSubstr("twice")));
}

TEST_F(CorruptCheckpoint, NumbersThatAreNone) {
  struct Bits {
    const char* type;
    std::uint32_t bits;
  };
  for (const Bits wrong : {Bits{"F32", 0x7FC00000u}, Bits{"F32", 0xFF800000u}, Bits{"F32", 0x7F800001u},
                           Bits{"F16", 0x7C00u}, Bits{"F16", 0xFE00u}, Bits{"BF16", 0x7F80u}, Bits{"BF16", 0xFFC0u}}) {
    SCOPED_TRACE(std::string(wrong.type) + " " + std::to_string(wrong.bits));
    Tensors tensors = good_tensors();
    Tensor& tensor = tensors[kSome];
    const std::size_t width = std::string(wrong.type) == "F32" ? 4 : 2;
    tensor.dtype = wrong.type;
    tensor.bytes.assign(tensor.bytes.size() / 4 * width, '\0');
    write(classifier_config(2), tensors);
    EXPECT_TRUE(open().ok());
    for (const std::size_t at : {std::size_t{0}, tensor.bytes.size() - width}) {
      Tensors broken = tensors;
      std::memcpy(broken[kSome].bytes.data() + at, &wrong.bits, width);
      write(classifier_config(2), broken);
      EXPECT_REFUSED(open(), kDataLoss, AllOf(HasSubstr(path().string()), HasSubstr(kSome), HasSubstr("NaN")));
    }
  }
}

// Whichever tensor it is beside which it is read.
TEST_F(CorruptCheckpoint, ANumberThatIsNoneIsOfTheTensorThatHoldsIt) {
  const Tensors good = good_tensors();
  const std::uint32_t nan = 0x7FC00000u;
  for (const auto& [name, tensor] : good) {
    Tensors broken = good;
    std::memcpy(broken[name].bytes.data() + tensor.bytes.size() - 4, &nan, 4);
    write(classifier_config(2), broken);
    EXPECT_REFUSED(open(), kDataLoss, HasSubstr("tensor " + name + ": holds a NaN"));
  }
}

class CorruptShards : public CheckpointFiles {
 protected:
  CorruptShards() {
    for (const auto& [name, tensor] : good_tensors()) {
      const bool early = first_.size() < 5;
      (early ? first_ : second_)[name] = tensor;
      map_[name] = early ? "model-1.safetensors" : "model-2.safetensors";
    }
    write_file(path() / "config.json", classifier_config(2).dump());
    write_file(path() / "model-1.safetensors", safetensors(first_));
    write_file(path() / "model-2.safetensors", safetensors(second_));
  }
  Status open_with_map(const json& map) {
    write_file(path() / kIndex, json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}.dump());
    return open();
  }
  Status open_with_tensor_in(const json& file) {
    json map = map_;
    map[kSome] = file;
    return open_with_map(map);
  }

  Tensors first_, second_;
  json map_;
};

TEST_F(CorruptShards, NamesOfFilesThatAreNotOfThisFolder) {
  ASSERT_TRUE(open_with_map(map_).ok());
  for (const json& file : {json("../model-2.safetensors"), json("/etc/passwd"), json(".."), json("."), json(""),
                           json("a/b"), json("./model-2.safetensors"), json(std::string("a\0b", 3)), json(2)}) {
    SCOPED_TRACE(file.dump());
    EXPECT_REFUSED(open_with_tensor_in(file), kInvalidArgument, AllOf(HasSubstr(kIndex), HasSubstr(kSome)));
  }
}

TEST_F(CorruptShards, ShardsThatAreNotThereOrNoFiles) {
  EXPECT_REFUSED(open_with_tensor_in("absent.safetensors"), kNotFound, HasSubstr("absent.safetensors"));
  std::filesystem::create_directory(path() / "folder.safetensors");
  EXPECT_REFUSED(open_with_tensor_in("folder.safetensors"), kInvalidArgument, HasSubstr("folder.safetensors"));
  ASSERT_EQ(::mkfifo((path() / "fifo.safetensors").c_str(), 0600), 0);
  EXPECT_REFUSED(open_with_tensor_in("fifo.safetensors"), kInvalidArgument, HasSubstr("fifo.safetensors"));
  EXPECT_REFUSED(open_with_tensor_in("config.json"), kInvalidArgument, HasSubstr("config.json"));
}

TEST_F(CorruptShards, TensorsThatAreInAnotherShardThanTheIndexSays) {
  EXPECT_REFUSED(open_with_tensor_in("model-1.safetensors"), kInvalidArgument,
                 AllOf(HasSubstr("model-1.safetensors"), HasSubstr(kSome)));
  json map = map_;
  map.erase(kSome);
  EXPECT_REFUSED(open_with_map(map), kInvalidArgument, AllOf(HasSubstr("model-2.safetensors"), HasSubstr(kSome)));
  map = map_;
  map["classifier.scale"] = "model-1.safetensors";
  EXPECT_REFUSED(open_with_map(map), kInvalidArgument,
                 AllOf(HasSubstr("model-1.safetensors"), HasSubstr("classifier.scale")));
}

TEST_F(CorruptShards, TheSameTensorInTwoShards) {
  first_["vit.layers.0.mlp.fc2.weight"] = second_[kSome];
  write_file(path() / "model-1.safetensors", safetensors(first_));
  json map = map_;
  map["vit.layers.0.mlp.fc2.weight"] = "model-1.safetensors";
  EXPECT_REFUSED(open_with_map(map), kInvalidArgument, AllOf(HasSubstr("model-2.safetensors"), HasSubstr(kSome)));
}

TEST_F(CorruptShards, IndexesThatAreNoIndexes) {
  for (const json& map : {json(nullptr), json(1), json::array(), json::object()}) {
    SCOPED_TRACE(map.dump());
    EXPECT_REFUSED(open_with_map(map), kInvalidArgument, AllOf(HasSubstr(kIndex), HasSubstr("weight_map")));
  }
  for (const std::string text : {"", "{", "[]", "{\"weight_map\": {\"a\": \"b\", \"a\": \"c\"}}"}) {
    SCOPED_TRACE(text);
    write_file(path() / kIndex, text);
    EXPECT_REFUSED(open(), kInvalidArgument, HasSubstr(kIndex));
  }
}

// What no table thought of: bytes changed at random, in the header above all. Whatever comes of it names its file.
TEST_F(CorruptCheckpoint, BytesChangedAtRandom) {
  write_good();
  const auto [header, data] = safetensors_parts(good_tensors());
  const std::string whole = with_header(header, data);
  const std::size_t header_end = whole.size() - data.size();
  std::mt19937 random(20261124);
  int refused = 0;
  for (int i = 0; i < 600; ++i) {
    std::string bytes = whole;
    for (unsigned changes = random() % 3 + 1; changes > 0; --changes) {
      bytes[random() % (i % 4 == 0 ? bytes.size() : header_end)] = static_cast<char>(random() % 256);
    }
    write_weights(bytes);
    const Status status = open();
    if (status.ok()) continue;
    ++refused;
    EXPECT_THAT(status.message(), HasSubstr(path().string()));
  }
  EXPECT_GT(refused, 300);
}

}  // namespace
}  // namespace node::inference
