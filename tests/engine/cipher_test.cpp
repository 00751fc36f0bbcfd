// Encrypted images, with a cipher that anybody can compute: what is written reads back, what lies in the file
// is encrypted by the right sector numbers, and without the key there is no data.
#include "engine/cipher.hpp"

#include <random>

#include <gtest/gtest.h>

#include "tests/engine/images.hpp"

namespace cowvet::engine {
namespace {

using namespace testing_images;

// Adds the sector's number and the place in it to each byte.
class Caesar final : public Cipher {
 public:
  explicit Caesar(format::CryptMethod method) : method_(method) {}
  [[nodiscard]] format::CryptMethod method() const override { return method_; }
  [[nodiscard]] base::Result<void> encrypt(std::uint64_t sector, base::MutableBytes bytes) const override {
    return shift(sector, bytes, 1);
  }
  [[nodiscard]] base::Result<void> decrypt(std::uint64_t sector, base::MutableBytes bytes) const override {
    return shift(sector, bytes, -1);
  }

 private:
  static base::Result<void> shift(std::uint64_t sector, base::MutableBytes bytes, int sign) {
    if (bytes.size() % 512 != 0) return base::fail(base::ErrorKind::usage, "not whole sectors");
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto key = static_cast<int>((sector + i / 512) * 131 + i % 512 + 17);
      bytes[i] = static_cast<std::byte>(static_cast<int>(bytes[i]) + sign * key);
    }
    return {};
  }
  format::CryptMethod method_;
};

class Encrypted : public testing::TestWithParam<const char*> {};

TEST_P(Encrypted, reads_back_what_was_written) {
  const auto built = build(GetParam());
  storage::MemoryDevice device(built.file.bytes());
  const auto method =
      static_cast<format::CryptMethod>(must(Qcow2Disk::open(device, {}))->header().v2.crypt_method);
  OpenOptions options;
  options.writable = true;
  options.cipher = std::make_shared<Caesar>(method);
  auto disk = must(Qcow2Disk::open(device, options));
  Bytes expected(disk->size());
  must(disk->zero(base::GuestOffset{0}, disk->size(), Unmap::yes));
  std::mt19937 random(3);
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t at = random() % expected.size();
    const std::uint64_t length = std::min<std::uint64_t>(1 + random() % 9000, expected.size() - at);
    Bytes bytes(length);
    for (auto& b : bytes) b = static_cast<std::byte>(random());
    must(disk->write(base::GuestOffset{at}, bytes));
    std::ranges::copy(bytes, expected.begin() + static_cast<std::ptrdiff_t>(at));
    ASSERT_TRUE(content(*disk) == expected) << i;
  }
  EXPECT_FALSE(disk->write_compressed(base::GuestOffset{0}, Bytes(disk->geometry().cluster_size())));
  must(disk->resize(disk->size() + (1 << 20), Preallocation::metadata));
  expected.resize(expected.size() + (1 << 20));
  must(disk->close());
  EXPECT_EQ(findings(device), "");

  disk = must(Qcow2Disk::open(device, options));
  EXPECT_TRUE(content(*disk) == expected);
  for (std::uint64_t at = 0; at < disk->size();) {
    const auto extent = must(disk->extent(base::GuestOffset{at}, disk->size() - at));
    if (extent.data) {
      Bytes raw(extent.length / 512 * 512);
      (void)device.read(extent.host->raw(), raw);
      must(
          options.cipher->decrypt((method == format::CryptMethod::aes ? at : extent.host->raw()) / 512, raw));
      EXPECT_TRUE(std::ranges::equal(raw, base::ConstBytes(expected).subspan(at, raw.size())));
    }
    at += extent.length;
  }
  const auto keyless = must(Qcow2Disk::open(device, {}));
  Bytes bytes(disk->size());
  EXPECT_FALSE(keyless->read(base::GuestOffset{0}, bytes));
}

INSTANTIATE_TEST_SUITE_P(methods, Encrypted,
                         testing::Values("image size=200K cluster_size=4K encryption=aes",
                                         "image size=200K cluster_size=4K encryption=luks",
                                         "image size=200K cluster_size=16K extended_l2 encryption=luks",
                                         "image version=2 size=200K cluster_size=512 encryption=aes"));

}  // namespace
}  // namespace cowvet::engine
