// New images: sound whatever the options, all zeros, whole or not there; and the figures of measure.
#include "engine/create.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/raw_disk.hpp"
#include "format/luks.hpp"
#include "storage/fault.hpp"
#include "storage/memory.hpp"
#include "storage/overlay.hpp"
#include "storage/recorder.hpp"
#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using testing_images::content;
using testing_images::findings;
using testing_images::must;

EncryptOptions encryption(format::CryptMethod method) {
  return {.method = method, .secret = "secret", .cipher = "aes-128", .iter_time_ms = 1};
}

// Every option with every other one, as far as they go together.
std::vector<CreateOptions> combinations() {
  std::vector<CreateOptions> all;
  for (const std::uint32_t version : {2U, 3U})
    for (const std::uint64_t cluster_size : {512U, 16384U, 65536U, 2U << 20})
      for (const std::uint32_t refcount_bits : {1U, 2U, 16U, 64U})
        for (const bool extended : {false, true})
          for (const auto preallocation :
               {Preallocation::off, Preallocation::metadata, Preallocation::falloc, Preallocation::full})
            for (const int file : {0, 1, 2})
              for (const auto method :
                   {format::CryptMethod::none, format::CryptMethod::aes, format::CryptMethod::luks}) {
                CreateOptions o{.size = 1'000'001,
                                .version = version,
                                .cluster_size = cluster_size,
                                .refcount_bits = refcount_bits,
                                .extended_l2 = extended,
                                .preallocation = preallocation};
                if (file > 0) o.data_file = "data";
                o.data_file_raw = file == 2;
                if (method != format::CryptMethod::none) o.encrypt = encryption(method);
                if (method == format::CryptMethod::luks && (refcount_bits != 16 || file != 0))
                  continue;  // slow
                if (check_options(o)) all.push_back(o);
              }
  return all;
}

std::string name(const CreateOptions& o) {
  return fmt::format(
      "version {} cluster {} refcounts {} extended {} preallocation {} data {} raw {} crypt {}", o.version,
      o.cluster_size, o.refcount_bits, o.extended_l2, static_cast<int>(o.preallocation),
      o.data_file.has_value(), o.data_file_raw, o.encrypt ? static_cast<int>(o.encrypt->method) : 0);
}

TEST(Create, EveryCombinationIsSoundAndReadsAsZeros) {
  const auto all = combinations();
  EXPECT_GT(all.size(), 300);
  for (const auto& options : all) {
    SCOPED_TRACE(name(options));
    storage::MemoryDevice device(std::vector<std::byte>(5000, std::byte{0xab}));
    storage::MemoryDevice data(std::vector<std::byte>(5000, std::byte{0xab}));
    base::Progress progress;
    must(create_qcow2(device, options.data_file ? &data : nullptr, options, progress));
    EXPECT_EQ(progress.done(), progress.total());
    EXPECT_EQ(findings(device), "");
    OpenOptions open{.data_file = options.data_file ? &data : nullptr};
    if (options.encrypt && options.encrypt->method == format::CryptMethod::aes)
      open.cipher = must(open_aes("secret"));
    if (options.encrypt && options.encrypt->method == format::CryptMethod::luks) {
      const auto cluster = options.cluster_size;  // the header is found as any reader finds it
      std::size_t at = 0;
      while (at + 6 < device.bytes().size() &&
             !std::equal(format::luks_magic.begin(), format::luks_magic.end(),
                         device.bytes().begin() + static_cast<long>(at)))
        at += cluster;
      open.cipher = must(open_luks(base::ConstBytes(device.bytes()).subspan(at), "secret"));
    }
    const auto disk = must(Qcow2Disk::open(device, open));
    EXPECT_EQ(disk->size(), 1'000'448);
    EXPECT_TRUE(base::all_zero(content(*disk)));
    EXPECT_EQ(data.size(), options.data_file ? 1'000'448 : 5000);
  }
}

TEST(Create, NamesAndFeaturesAreStored) {
  storage::MemoryDevice device, data;
  base::Progress progress;
  must(create_qcow2(device, nullptr,
                    {.size = 1 << 20,
                     .lazy_refcounts = true,
                     .compression = format::Compression::zstd,
                     .backing_file = "base.qcow2",
                     .backing_format = "qcow2"},
                    progress));
  const auto disk = must(Qcow2Disk::open(device, {}));
  EXPECT_EQ(disk->backing_name(), "base.qcow2");
  EXPECT_EQ(disk->backing_format(), "qcow2");
  EXPECT_TRUE(disk->header().lazy_refcounts());
  EXPECT_EQ(disk->header().compression(), format::Compression::zstd);
  must(create_qcow2(device, &data, {.size = 1 << 20, .data_file = "d.raw", .data_file_raw = true}, progress));
  const auto other = must(Qcow2Disk::open(device, {.data_file = &data}));
  EXPECT_EQ(other->data_file_name(), "d.raw");
  EXPECT_TRUE(other->header().raw_external_data());
}

TEST(Create, OthersWritesToARawDataFileAreSeen) {
  for (const bool extended : {false, true}) {
    storage::MemoryDevice device, data;
    base::Progress progress;
    must(create_qcow2(device, &data,
                      {.size = 1 << 20, .extended_l2 = extended, .data_file = "d", .data_file_raw = true},
                      progress));
    must(data.write(70'000, std::vector<std::byte>(5, std::byte{7})));
    const auto disk = must(Qcow2Disk::open(device, {.data_file = &data}));
    EXPECT_EQ(content(*disk), data.bytes());
  }
}

TEST(Create, WhatGoesNotTogetherIsRefusedBeforeAnythingIsWritten) {
  const std::vector<std::pair<CreateOptions, std::string>> refused{
      {{.version = 2, .lazy_refcounts = true}, "compat=1.1"},
      {{.version = 2, .extended_l2 = true}, "compat=1.1"},
      {{.version = 2, .compression = format::Compression::zstd}, "compat=1.1"},
      {{.version = 2, .data_file = "d"}, "compat=1.1"},
      {{.version = 2, .refcount_bits = 8}, "compat=1.1"},
      {{.version = 4}, "version 4"},
      {{.cluster_size = 1000}, "power of two"},
      {{.cluster_size = 256}, "power of two"},
      {{.cluster_size = 0}, "power of two"},
      {{.cluster_size = 4 << 20}, "power of two"},
      {{.refcount_bits = 3}, "refcounts of 3 bits"},
      {{.refcount_bits = 128}, "refcounts of 128 bits"},
      {{.cluster_size = 4096, .extended_l2 = true}, "at least 16k"},
      {{.data_file_raw = true}, "name one with data_file"},
      {{.data_file = "d", .data_file_raw = true, .backing_file = "b"}, "no backing file"},
      {{.preallocation = Preallocation::metadata, .backing_file = "b"}, "extended_l2=on"},
      {{.size = 1ULL << 60}, "larger cluster_size"},
      {{.size = UINT64_MAX}, "larger cluster_size"},
      {{.backing_file = std::string(1024, 'x')}, "1023"},
      {{.cluster_size = 512, .backing_file = std::string(600, 'x')}, "shorter"},
      {{.encrypt = EncryptOptions{.cipher = "serpent-256"}}, "serpent-256"},
  };
  for (const auto& [options, why] : refused) {
    const std::vector<std::byte> before(5000, std::byte{0xab});
    storage::MemoryDevice device(before), data;
    base::Progress progress;
    const auto result = create_qcow2(device, options.data_file ? &data : nullptr, options, progress);
    ASSERT_FALSE(result) << why;
    EXPECT_EQ(result.error().kind, base::ErrorKind::usage);
    EXPECT_NE(result.error().message.find(why), std::string::npos) << result.error().message;
    EXPECT_EQ(device.bytes(), before);
  }
}

// Every prefix of the writes, and every failing one: whatever is there is the whole image, or does not begin like one.
TEST(Create, AHalfMadeImageIsNeverTakenForAGoodOne) {
  const CreateOptions options{
      .size = 1 << 20, .cluster_size = 4096, .preallocation = Preallocation::metadata};
  storage::MemoryDevice whole;
  storage::Recorder recorder(whole);
  base::Progress progress;
  must(create_qcow2(recorder, nullptr, options, progress));
  const auto events = recorder.events();
  ASSERT_GE(events.size(), 4);
  EXPECT_EQ(events.back().kind, storage::Event::Kind::flush);
  EXPECT_EQ(events[events.size() - 2].position, 0);
  EXPECT_EQ(events[events.size() - 2].bytes.size(), 512);
  EXPECT_EQ(events[events.size() - 3].kind, storage::Event::Kind::flush);
  for (std::uint64_t nth = 1; nth < events.size(); ++nth) {
    storage::MemoryDevice memory;
    {  // over an older image
      base::Progress ignored;
      must(create_qcow2(memory, nullptr, {.size = 5 << 20}, ignored));
    }
    storage::FaultDevice faulty(memory, {{.operation = storage::Fault::Operation::write, .nth = nth}});
    if (create_qcow2(faulty, nullptr, options, progress)) continue;
    EXPECT_FALSE(Qcow2Disk::open(memory, {})) << nth;
  }
}

TEST(Create, StopsWhenAsked) {
  storage::MemoryDevice device;
  base::Progress progress;
  progress.request_stop();
  const auto result = create_qcow2(device, nullptr, {.size = 1 << 20}, progress);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().kind, base::ErrorKind::cancelled);
}

TEST(Measure, IsWhatAFullImageTakes) {
  for (const auto& options : combinations()) {
    if (options.data_file || options.preallocation != Preallocation::full) continue;
    SCOPED_TRACE(name(options));
    storage::MemoryDevice device;
    base::Progress progress;
    must(create_qcow2(device, nullptr, options, progress));
    const auto measure = must(measure_qcow2(options, 0));
    EXPECT_EQ(measure.fully_allocated, device.size());
    EXPECT_EQ(measure.required, measure.fully_allocated);
  }
  const auto measure = must(measure_qcow2({.size = 1ULL << 30}, 65536));
  EXPECT_EQ(measure.required, 393216 + 65536);
  EXPECT_EQ(measure.fully_allocated, 1074135040);
}

TEST(RawDisk, ReadsZerosUpToTheNextSector) {
  storage::MemoryDevice device(std::vector<std::byte>(1000, std::byte{5}));
  const auto disk = open_raw(device, true);
  EXPECT_EQ(disk->size(), 1024);
  auto expected = device.bytes();
  expected.resize(1024);
  EXPECT_EQ(content(*disk), expected);
  EXPECT_FALSE(disk->extent(base::GuestOffset{1000}, 24)->data);
  EXPECT_TRUE(disk->extent(base::GuestOffset{0}, 1024)->data);
  EXPECT_EQ(disk->extent(base::GuestOffset{0}, 1024)->length, 1000);
  must(disk->zero(base::GuestOffset{990}, 34, Unmap::no));
  EXPECT_EQ(device.size(), 1000);
  must(disk->write(base::GuestOffset{1020}, std::vector<std::byte>(4, std::byte{9})));
  must(disk->discard(base::GuestOffset{0}, 10));
  EXPECT_EQ(device.bytes()[9], std::byte{0});
  EXPECT_EQ(device.bytes()[10], std::byte{5});
  EXPECT_EQ(content(*disk)[1023], std::byte{9});
  EXPECT_FALSE(disk->write(base::GuestOffset{1020}, std::vector<std::byte>(5)));
  EXPECT_FALSE(open_raw(device, false)->zero(base::GuestOffset{0}, 1, Unmap::no));
}

TEST(RawDisk, HolesReadAsZerosWithoutReading) {
  std::vector<std::byte> bytes(3 * 4096, std::byte{5});
  std::fill_n(bytes.begin() + 4096, 4096, std::byte{0});
  storage::MemoryDevice device(bytes);
  const auto extent = open_raw(device, false)->extent(base::GuestOffset{5000}, 7000);
  ASSERT_TRUE(extent);
  EXPECT_TRUE(extent->allocated && extent->zero && !extent->data);
  EXPECT_EQ(extent->length, 8192 - 5000);
}

TEST(RawDisk, AFailedFlushIsFinal) {
  storage::MemoryDevice memory(std::vector<std::byte>(1024));
  storage::FaultDevice device(memory, {{.operation = storage::Fault::Operation::flush}});
  const auto disk = open_raw(device, true);
  EXPECT_FALSE(disk->flush());
  EXPECT_FALSE(disk->flush());
  EXPECT_FALSE(disk->write(base::GuestOffset{0}, std::vector<std::byte>(1)));
}

}  // namespace
}  // namespace cowvet::engine
