// Encryption: published vectors, round trips in all modes, and images that go back and forth between us and qemu.
#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/cipher.hpp"
#include "engine/create.hpp"
#include "engine/crypto.hpp"
#include "engine/luks.hpp"
#include "format/extensions.hpp"
#include "storage/file.hpp"
#include "tests/engine/images.hpp"
#include "tests/storage/temporary.hpp"

namespace cowvet::engine {
namespace {

using testing_images::must;
using tests::pattern;

std::vector<std::byte> from_hex(std::string_view hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoul(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

TEST(SectorCipher, GivesTheVectorOfIeee1619) {  // XTS-AES-128, vector 4: 512 bytes 0, 1, 2, ... in sector 0
  const auto key = from_hex("2718281828459045235360287471352631415926535897932384626433832795");
  std::vector<std::byte> bytes(512);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
  must(must(SectorCipher::make({"aes", "xts", "plain64", ""}, key))
           .run(SectorCipher::Direction::encrypt, 0, bytes));
  EXPECT_EQ((std::vector<std::byte>{bytes.begin(), bytes.begin() + 16}),
            from_hex("27a7479befa1d476489f308cd4cfa6e2"));
}

TEST(SectorCipher, ComesBackInEveryMode) {
  for (const unsigned bits : {128U, 192U, 256U})
    for (const std::string mode : {"xts", "cbc", "ctr", "ecb"})
      for (const auto& [ivgen, hash] :
           {std::pair{"plain", ""}, std::pair{"plain64", ""}, std::pair{"essiv", "sha256"}}) {
        const auto cipher =
            must(SectorCipher::make({"aes", mode, ivgen, hash}, pattern(key_size(bits, mode), bits)));
        const auto plain = pattern(2048 + 256, 5);
        auto bytes = plain;
        must(cipher.run(SectorCipher::Direction::encrypt, 77, bytes));
        EXPECT_NE(bytes, plain);
        auto parts = bytes;  // each sector stands for itself
        must(cipher.run(SectorCipher::Direction::decrypt, 79, base::MutableBytes(parts).subspan(1024)));
        EXPECT_TRUE(std::equal(parts.begin() + 1024, parts.end(), plain.begin() + 1024));
        must(cipher.run(SectorCipher::Direction::decrypt, 77, bytes));
        EXPECT_EQ(bytes, plain) << bits << mode << ivgen;
      }
}

TEST(SectorCipher, PlainVectorsForgetTheUpperHalfOfTheNumber) {
  const auto encrypted = [](const char* ivgen, std::uint64_t sector) {
    std::vector<std::byte> bytes(512);
    must(must(SectorCipher::make({"aes", "cbc", ivgen, ""}, pattern(16, 1)))
             .run(SectorCipher::Direction::encrypt, sector, bytes));
    return bytes;
  };
  EXPECT_EQ(encrypted("plain", 5), encrypted("plain", (1ULL << 32) + 5));
  EXPECT_NE(encrypted("plain64", 5), encrypted("plain64", (1ULL << 32) + 5));
}

TEST(Luks, SplitKeysComeBackAndEveryByteCounts) {
  for (const char* hash : {"sha1", "sha256", "sha512", "ripemd160"}) {
    const auto key = pattern(32, 1);
    auto split = must(split_key(hash, key));
    EXPECT_TRUE(std::ranges::equal(must(merge_key(hash, split.bytes(), 32)).bytes(), key));
    split.bytes()[12'345] ^= std::byte{1};
    EXPECT_FALSE(std::ranges::equal(must(merge_key(hash, split.bytes(), 32)).bytes(), key));
  }
}

TEST(Luks, OnlyItsPasswordOpensIt) {
  const auto made = must(make_luks({.secret = "right", .iter_time_ms = 1}));
  EXPECT_EQ(made.header.size(), must(luks_header_size({})));
  EXPECT_TRUE(open_luks(made.header, "right"));
  const auto wrong = open_luks(made.header, "wrong");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().kind, base::ErrorKind::usage);
  EXPECT_NE(wrong.error().message.find("check it"), std::string::npos);
}

TEST(Luks, WhatIsNotSupportedIsNamed) {
  const auto refused = [](const EncryptOptions& options, const std::string& name) {
    const auto result = make_luks(options);
    return !result && result.error().message.find(name) != std::string::npos;
  };
  EXPECT_TRUE(refused({.cipher = "twofish-256"}, "twofish-256"));
  EXPECT_TRUE(refused({.cipher = "aes-192", .mode = "cbc"}, "aes-192 in cbc mode"));
  EXPECT_TRUE(refused({.mode = "gcm"}, "gcm"));
  EXPECT_TRUE(refused({.ivgen = "benbi"}, "benbi"));
  EXPECT_TRUE(refused({.hash = "whirlpool"}, "whirlpool"));
  EXPECT_TRUE(refused({.ivgen = "essiv", .ivgen_hash = "sha1"}, "sha1"));
}

TEST(Luks, DamagedHeadersAreErrorsNotReadsOutside) {
  const auto made = must(make_luks({.secret = "s", .cipher = "aes-128", .mode = "cbc", .iter_time_ms = 1}));
  const auto refused = [&](std::size_t at, std::vector<std::byte> bytes) {
    auto header = made.header;
    std::ranges::copy(bytes, header.begin() + static_cast<long>(at));
    return !open_luks(header, "s");
  };
  EXPECT_TRUE(refused(0, from_hex("00")));
  EXPECT_TRUE(refused(6, from_hex("0002")));
  EXPECT_TRUE(refused(108, from_hex("ffffffff"))) << "key bytes";
  EXPECT_TRUE(refused(108, from_hex("00000000")));
  EXPECT_TRUE(refused(208 + 40, from_hex("ffffffff"))) << "place of the key material";
  EXPECT_TRUE(refused(208 + 44, from_hex("ffffffff"))) << "stripes";
  EXPECT_TRUE(refused(208 + 4, from_hex("00000000"))) << "iterations";
  EXPECT_TRUE(refused(8, from_hex("ff"))) << "cipher";
  EXPECT_FALSE(open_luks(base::ConstBytes(made.header).first(10'000), "s"));
  EXPECT_FALSE(open_luks({}, "s"));
}

// -- With qemu-img and qemu-io ------------------------------------------------------------------------------------

bool run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; }

struct Scheme {
  format::CryptMethod method;
  std::string cipher, mode, ivgen, ivgen_hash, hash;
};
const std::vector<Scheme> schemes{
    {format::CryptMethod::aes, "", "", "", "", ""},
    {format::CryptMethod::luks, "aes-256", "xts", "plain64", "", "sha256"},
    {format::CryptMethod::luks, "aes-128", "xts", "plain", "", "sha1"},
    {format::CryptMethod::luks, "aes-192", "xts", "plain64", "", "sha256"},
    {format::CryptMethod::luks, "aes-256", "cbc", "essiv", "sha256", "sha512"},
    {format::CryptMethod::luks, "aes-256", "cbc", "plain64", "", "sha224"},
    {format::CryptMethod::luks, "aes-128", "ctr", "plain64", "", "sha384"},
    {format::CryptMethod::luks, "aes-128", "ecb", "plain64", "", "ripemd160"},
};

std::string spelled(const Scheme& s) {
  if (s.method == format::CryptMethod::aes) return "encrypt.format=aes,encrypt.key-secret=s";
  return fmt::format(
      "encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-alg={},encrypt.cipher-mode={},"
      "encrypt.ivgen-alg={},encrypt.hash-alg={}{},encrypt.iter-time=100",
      s.cipher, s.mode, s.ivgen, s.hash,
      s.ivgen_hash.empty() ? "" : ",encrypt.ivgen-hash-alg=" + s.ivgen_hash);
}

std::shared_ptr<const Cipher> cipher_of(storage::Device& device, const Scheme& scheme) {
  if (scheme.method == format::CryptMethod::aes) return must(open_aes("a secret of more than 16 bytes"));
  std::vector<std::byte> start(65536);
  device.read(0, start);
  const auto area = format::parse_extensions(start, 112, 65536);
  const auto place =
      *format::exact<format::EncryptionExtension>(area.find(format::ExtensionType::encryption)->data);
  std::vector<std::byte> header(static_cast<std::size_t>(place.length));
  device.read(place.offset.raw(), header);
  return must(open_luks(header, "a secret of more than 16 bytes"));
}

class Interoperation : public testing::TestWithParam<Scheme> {
 protected:
  tests::Folder folder_;
  std::string file_ = (folder_ / "image.qcow2").string();
  std::string object_ = "--object 'secret,id=s,data=a secret of more than 16 bytes'";
  std::string image_ = fmt::format("--image-opts driver=qcow2,file.filename={},encrypt.key-secret=s", file_);
};

TEST_P(Interoperation, WeReadWhatQemuWrites) {
  // qemu-img measures its speed by processor time, and gives up where the clock is too coarse: several tries.
  bool made = false;
  for (int i = 0; i < 5 && !made; ++i)
    made = run(fmt::format("qemu-img create {} -f qcow2 -o {} {} 4M", object_, spelled(GetParam()), file_));
  if (!made) GTEST_SKIP() << "qemu-img can't make such an image here";
  ASSERT_TRUE(run(fmt::format("qemu-io {} {} -c 'write -P 0x5a 65536 131072' -c 'write -P 7 3000320 512'",
                              object_, image_)));
  const auto device = must(storage::open_file(file_));
  const auto disk = must(Qcow2Disk::open(*device, {.cipher = cipher_of(*device, GetParam())}));
  std::vector<std::byte> expected(4 << 20);
  std::fill_n(expected.begin() + 65536, 131072, std::byte{0x5a});
  std::fill_n(expected.begin() + 3000320, 512, std::byte{7});
  EXPECT_EQ(testing_images::content(*disk), expected);
}

TEST_P(Interoperation, QemuReadsWhatWeMakeAndWrite) {
  const auto& scheme = GetParam();
  for (const auto preallocation : {Preallocation::off, Preallocation::metadata}) {
    CreateOptions options{.size = 4 << 20, .preallocation = preallocation};
    options.encrypt = EncryptOptions{
        .method = scheme.method, .secret = "a secret of more than 16 bytes", .iter_time_ms = 5};
    if (scheme.method == format::CryptMethod::luks) {
      options.encrypt->cipher = scheme.cipher;
      options.encrypt->mode = scheme.mode;
      options.encrypt->ivgen = scheme.ivgen;
      options.encrypt->ivgen_hash = scheme.ivgen_hash;
      options.encrypt->hash = scheme.hash;
    }
    {
      const auto device = must(storage::create_file(file_));
      base::Progress progress;
      must(create_qcow2(*device, nullptr, options, progress));
      const auto disk =
          must(Qcow2Disk::open(*device, {.writable = true, .cipher = cipher_of(*device, scheme)}));
      must(disk->write(base::GuestOffset{100'000}, std::vector<std::byte>(200'000, std::byte{0x77})));
      must(disk->close());
    }
    EXPECT_TRUE(
        run(fmt::format("qemu-io -r {} {} -c 'read -P 0x77 100000 200000' -c 'read -P 0 0 100000' -c "
                        "'read -P 0 300000 3894304'",
                        object_, image_)));
    EXPECT_FALSE(run(fmt::format("qemu-io -r {} {} -c 'read -P 0x78 100000 200000'", object_, image_)));
    EXPECT_TRUE(run(fmt::format("qemu-img check {} {}", object_, image_)));
  }
}

INSTANTIATE_TEST_SUITE_P(Schemes, Interoperation, testing::ValuesIn(schemes), [](const auto& scheme) {
  std::string name = scheme.param.method == format::CryptMethod::aes
                         ? "old_aes"
                         : scheme.param.cipher + "_" + scheme.param.mode + "_" + scheme.param.ivgen + "_" +
                               scheme.param.hash;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace cowvet::engine
