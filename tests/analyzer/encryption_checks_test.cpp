// What the corpus can't say about encryption: which clusters the LUKS header owns when its length can't be
// believed, and which settings are known.
#include <array>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "storage/fault.hpp"
#include "tests/analyzer/checked.hpp"

namespace cowvet::analyzer {
namespace {

using namespace findings::literals;

constexpr std::string_view luks = "image encryption=luks\ndata 0..3\ndamage:\n";

// The length that the region is given, 0 when there is none.
std::uint64_t owned(const std::string& damage) {
  const Checked checked(*Bytes(std::string(luks) + damage).device());
  const auto regions = checked.regions(Kind::luks);
  EXPECT_LE(regions.size(), 1U);
  return regions.empty() ? 0 : regions.front().length;
}

TEST(EncryptionChecks, GiveTheLuksHeaderAllItsClustersWhateverItsLengthSays) {
  const std::uint64_t whole = Bytes(luks).layout.luks->length;  // as the LUKS header's payload offset says
  EXPECT_EQ(owned("set luks.version = 1"), whole);              // nothing is damaged
  for (const auto* length : {"0", "100", "1M", "2M + 64K", "1 << 40", "1 << 63", "-1"})
    EXPECT_EQ(owned(std::string("write @ext[encryption].data + 8 u64 ") + length), whole) << length;
  EXPECT_EQ(owned("set header.crypt_method = 0"), whole);
  EXPECT_EQ(owned("set header.crypt_method = 1"), whole);
  EXPECT_EQ(owned("set luks.payload_offset = 0\nwrite @ext[encryption].data + 8 u64 1 << 50"), 4U << 20);
  EXPECT_EQ(owned("set ext[encryption].offset += 512"), 0U);
  EXPECT_EQ(owned("set header.crypt_method = 0\nflip @luks bit 0"), 0U);  // no LUKS header is there
}

TEST(EncryptionChecks, LeaveADoubtWhereverTheKeyMayLieInClustersThatLookFree) {
  for (const auto* damage : {"set ext[encryption].offset += 512", "write @ext[encryption].data + 8 u64 600",
                             "set header.crypt_method = 0", "set ext[encryption].type = 0x12345678",
                             "set ext[encryption].length = 8"}) {
    const Checked checked(*Bytes(std::string(luks) + damage).device());
    EXPECT_TRUE(checked.doubts("LUKS")) << damage;
  }
  EXPECT_TRUE(Checked(*Bytes(luks).device()).image.doubts.empty());
}

TEST(EncryptionChecks, TellADeviceThatFailsFromAHeaderThatIsDamaged) {
  const Bytes image(luks);
  const auto under = image.device();
  const std::uint64_t at = image.layout.luks->offset;
  const storage::FaultDevice device(*under, {{.begin = at, .end = at + 512, .persistent = true}});
  const Checked checked(device);
  EXPECT_EQ(checked.only("file/io-error"_rule).where, "luks");
  EXPECT_EQ(checked.findings.size(), 1U);
  EXPECT_EQ(checked.regions(Kind::luks).size(), 1U);
}

struct Setting {
  std::string cipher, mode, hash;
  std::uint32_t key_bytes;
  std::string rule;  // "" for a known setting
};

TEST(EncryptionChecks, KnowTheSettingsThatQemuKnows) {
  const std::array settings{Setting{"aes", "xts-plain64", "sha256", 64, ""},
                            Setting{"aes", "xts-plain64", "sha256", 32, ""},
                            Setting{"aes", "cbc-essiv:sha256", "sha1", 32, "luks/weak"},
                            Setting{"aes", "cbc-plain64", "sha512", 16, ""},
                            Setting{"serpent", "ctr-plain64", "sm3", 24, ""},
                            Setting{"twofish", "xts-plain", "ripemd160", 48, ""},
                            Setting{"cast5", "cbc-plain64", "sha224", 16, ""},
                            Setting{"sm4", "cbc-plain64", "sha384", 16, ""},
                            Setting{"cast5", "cbc-plain64", "sha256", 32, "luks/cipher"},
                            Setting{"aes", "xts-plain64", "sha256", 24, "luks/cipher"},
                            Setting{"aes", "cbc-plain64", "sha256", 64, "luks/cipher"},
                            Setting{"aes", "cbc-plain64", "sha256", 0, "luks/cipher"},
                            Setting{"AES", "xts-plain64", "sha256", 64, "luks/cipher"},
                            Setting{"", "xts-plain64", "sha256", 64, "luks/cipher"},
                            Setting{"aes", "xts", "sha256", 64, "luks/mode"},
                            Setting{"aes", "-plain64", "sha256", 64, "luks/mode"},
                            Setting{"aes", "xts-essiv", "sha256", 64, "luks/mode"},
                            Setting{"aes", "cbc-essiv:sha512", "sha256", 32, "luks/mode"},
                            Setting{"aes", "xts-plain64", "", 64, "luks/hash"}};
  for (const auto& s : settings) {
    const Checked checked(
        *Bytes(fmt::format("{}set luks.cipher_name = \"{}\"\nset luks.cipher_mode = \"{}\"\n"
                           "set luks.hash = \"{}\"\nset luks.key_bytes = {}",
                           luks, s.cipher, s.mode, s.hash, s.key_bytes))
             .device());
    const auto name = fmt::format("{} {} {} {}", s.cipher, s.mode, s.hash, s.key_bytes);
    if (s.rule.empty()) {
      EXPECT_TRUE(checked.findings.empty()) << name << ": " << checked.findings.front().rule->name;
    } else {
      ASSERT_EQ(checked.findings.size(), 1U) << name;
      EXPECT_EQ(checked.findings.front().rule->name, s.rule) << name;
    }
  }
}

TEST(EncryptionChecks, CallThePlainGeneratorWeakWhereItsSectorNumbersRepeat) {
  constexpr std::string_view damage = "damage:\nset luks.cipher_mode = \"xts-plain\"";
  EXPECT_EQ(
      Checked(*Bytes(fmt::format("image encryption=luks size=2T\n{}", damage)).device()).findings.size(), 0U);
  EXPECT_EQ(Checked(*Bytes(fmt::format("image encryption=luks size=3T\n{}", damage)).device())
                .times("luks/weak"_rule),
            1U);
}

}  // namespace
}  // namespace cowvet::analyzer
