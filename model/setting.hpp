// The options of one image of a chain, as plain values. Promises: fitted() makes an image that can exist of any values
// whatever, so that generators, shrinkers and fuzzers need not know which options go together.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/create.hpp"
#include "format/header.hpp"

namespace cowvet::model {

enum class DataFile : std::uint8_t { none, plain, raw };

struct Setting {
  std::uint64_t size = 128 << 10;  // bytes
  std::uint32_t version = 3;
  std::uint64_t cluster_size = 4096;
  std::uint32_t refcount_bits = 16;
  bool lazy_refcounts = false;
  bool extended_l2 = false;
  format::Compression compression = format::Compression::deflate;
  engine::Preallocation preallocation = engine::Preallocation::off;
  DataFile data_file = DataFile::none;
  format::CryptMethod encryption = format::CryptMethod::none;
  friend bool operator==(const Setting&, const Setting&) = default;

  // What a piece of a cluster is that can be held apart from its neighbours, in bytes.
  [[nodiscard]] std::uint64_t piece() const { return extended_l2 ? cluster_size / 32 : cluster_size; }
  [[nodiscard]] bool compressible() const {
    return data_file == DataFile::none && encryption == format::CryptMethod::none;
  }
};

// Disks are small: at most this many bytes, which grow with the clusters.
[[nodiscard]] std::uint64_t largest_disk(const Setting& setting);

// The nearest image that can exist, over a backing file or without one.
[[nodiscard]] Setting fitted(Setting setting, bool over_backing);

// The password of every encrypted image.
inline constexpr const char* password = "open-sesame";

// As engine::create_qcow2() takes it. `data_file`: the name to be stored if there is one; empty `backing` for none.
[[nodiscard]] engine::CreateOptions create_options(const Setting& setting, const std::string& data_file,
                                                   const std::string& backing,
                                                   const std::string& backing_format);

// As the option `preallocation` has it: "metadata".
[[nodiscard]] std::string_view name_of(engine::Preallocation mode);

// As `qemu-img create -o` takes it, size, names and secrets left out.
[[nodiscard]] std::string option_list(const Setting& setting);

}  // namespace cowvet::model
