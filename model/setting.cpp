#include "model/setting.hpp"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

namespace cowvet::model {

namespace {
using format::limits::sector;
constexpr std::uint64_t least_extended = 16 << 10;  // the smallest clusters that have subclusters
constexpr std::uint64_t most_clusters = 24;
constexpr std::uint64_t most_bytes = 5 << 20;
}  // namespace

std::uint64_t largest_disk(const Setting& setting) {
  return std::clamp<std::uint64_t>(most_clusters * setting.cluster_size, 128 << 10, most_bytes);
}

Setting fitted(Setting s, bool over_backing) {
  s.version = s.version == 2 ? 2 : 3;
  s.cluster_size =
      std::clamp<std::uint64_t>(std::bit_floor(s.cluster_size), 1U << format::limits::min_cluster_bits,
                                1U << format::limits::max_cluster_bits);
  s.refcount_bits = std::clamp<std::uint32_t>(std::bit_floor(s.refcount_bits), 1, 64);
  if (s.version == 2) {
    s.refcount_bits = 16;
    s.lazy_refcounts = s.extended_l2 = false;
    s.compression = format::Compression::deflate;
    s.data_file = DataFile::none;
  }
  if (s.extended_l2) s.cluster_size = std::max(s.cluster_size, least_extended);
  if (over_backing) {
    if (s.data_file == DataFile::raw) s.data_file = DataFile::plain;
    if (!s.extended_l2) s.preallocation = engine::Preallocation::off;
  }
  s.size = std::clamp(s.size / sector * sector, sector, largest_disk(s));
  return s;
}

engine::CreateOptions create_options(const Setting& s, const std::string& data_file,
                                     const std::string& backing, const std::string& backing_format) {
  engine::CreateOptions o{.size = s.size,
                          .version = s.version,
                          .cluster_size = s.cluster_size,
                          .refcount_bits = s.refcount_bits,
                          .lazy_refcounts = s.lazy_refcounts,
                          .extended_l2 = s.extended_l2,
                          .compression = s.compression,
                          .preallocation = s.preallocation};
  if (s.data_file != DataFile::none) o.data_file = data_file;
  o.data_file_raw = s.data_file == DataFile::raw;
  if (!backing.empty()) {
    o.backing_file = backing;
    o.backing_format = backing_format;
  }
  if (s.encryption != format::CryptMethod::none)
    o.encrypt = engine::EncryptOptions{.method = s.encryption, .secret = password, .iter_time_ms = 1};
  return o;
}

std::string option_list(const Setting& s) {
  using engine::Preallocation;
  std::string list =
      fmt::format("compat={},cluster_size={}", s.version == 2 ? "0.10" : "1.1", s.cluster_size);
  if (s.refcount_bits != 16) list += fmt::format(",refcount_bits={}", s.refcount_bits);
  if (s.lazy_refcounts) list += ",lazy_refcounts=on";
  if (s.extended_l2) list += ",extended_l2=on";
  if (s.compression == format::Compression::zstd) list += ",compression_type=zstd";
  if (s.preallocation != Preallocation::off)
    list += fmt::format(",preallocation={}", name_of(s.preallocation));
  if (s.data_file == DataFile::raw) list += ",data_file_raw=on";
  if (s.encryption == format::CryptMethod::aes) list += ",encrypt.format=aes";
  if (s.encryption == format::CryptMethod::luks) list += ",encrypt.format=luks,encrypt.iter-time=10";
  return list;
}

std::string_view name_of(engine::Preallocation mode) {
  using engine::Preallocation;
  switch (mode) {
    case Preallocation::metadata: return "metadata";
    case Preallocation::falloc: return "falloc";
    case Preallocation::full: return "full";
    default: return "off";
  }
}

}  // namespace cowvet::model
