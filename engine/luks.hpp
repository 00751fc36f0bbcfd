// The LUKS1 header: which cipher it names, and its master key, split over 4000 stripes and locked in key slots.
// Promises: nothing outside the header is read, whatever its offsets say; keys are wiped.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "engine/cipher.hpp"
#include "engine/crypto.hpp"
#include "format/luks.hpp"

namespace cowvet::engine {

// The header's words, taken apart.
struct LuksText {
  std::string cipher, mode_name, ivgen, ivgen_hash, hash;
  [[nodiscard]] SectorMode mode() const { return {cipher, mode_name, ivgen, ivgen_hash}; }
};
struct ParsedLuks : LuksText {
  format::Luks records;
};
// Errors: usage, for what can't be opened whatever the password.
[[nodiscard]] base::Result<ParsedLuks> parse_luks(base::ConstBytes header);
// The master key as one slot holds it, active or not; nothing when the password does not open it.
[[nodiscard]] base::Result<std::optional<Secret>> unlock_slot(const ParsedLuks& luks, base::ConstBytes header,
                                                              std::size_t slot, base::ConstBytes password);
// The master key. Error usage: no key slot opens with the password.
[[nodiscard]] base::Result<Secret> unlock_luks(const ParsedLuks& luks, base::ConstBytes header,
                                               base::ConstBytes password);

// Iterations of key derivation that take so many milliseconds here, within what the format allows.
[[nodiscard]] base::Result<std::uint32_t> iterations_taking(std::string_view hash, std::size_t key_bytes,
                                                            double milliseconds);
// The key material that locks `key` with the password: what belongs at the slot's offset. The slot's salt and
// iterations are taken as they are.
[[nodiscard]] base::Result<Secret> lock_slot(const LuksText& text, base::ConstBytes key,
                                             std::string_view password, const format::LuksKeySlot& slot);

struct MadeLuks {
  LuksText text;
  std::vector<std::byte> header;
  Secret key;
};
[[nodiscard]] base::Result<MadeLuks> make_luks_header(const EncryptOptions& options);

// The anti-forensic splitter: a key as many times its length, of which every byte is needed to have it back.
[[nodiscard]] base::Result<Secret> split_key(std::string_view hash, base::ConstBytes key);
[[nodiscard]] base::Result<Secret> merge_key(std::string_view hash, base::ConstBytes split,
                                             std::size_t key_size);

}  // namespace cowvet::engine
