// The passwords of a LUKS image: eight key slots, each of which holds the master key locked by one password.
// Promises: a crash leaves a slot as it was, unused, or as asked for; the last password is given up only by
// force.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "engine/header_area.hpp"
#include "engine/image.hpp"
#include "engine/luks.hpp"
#include "storage/device.hpp"

namespace cowvet::engine {

// The bytes that the encryption extension names. Error usage: it does not say where they lie.
[[nodiscard]] base::Result<std::vector<std::byte>> read_luks(const HeaderArea& header,
                                                             const storage::Device& device);

struct NewKey {
  std::string secret;                      // what is to open the image
  std::string unlocked_by;                 // what opens it now
  std::optional<std::uint64_t> slot = {};  // 0 to 7; the first unused one when not given
  std::uint64_t iter_time_ms = 2000;
  bool force = false;  // also over a slot that is in use
};

struct OldKeys {
  std::optional<std::uint64_t> slot = {};  // this one; with a secret only if that opens it
  std::optional<std::string> secret = {};  // otherwise all that it opens
  bool force = false;                      // also the last one, and slots that are not in use
};

class KeySlots {
 public:
  explicit KeySlots(Image& image) : image_(image) {}

  // Durable when they return. Error usage: what was asked for can't be, or is dangerous without force.
  [[nodiscard]] base::Result<void> add(const NewKey& key);
  [[nodiscard]] base::Result<void> erase(const OldKeys& keys);

 private:
  [[nodiscard]] base::Result<void> load();
  [[nodiscard]] bool active(std::uint64_t slot) const;
  [[nodiscard]] std::size_t active_slots() const;
  // Where the slot's key material lies, counted from the LUKS header. Error usage: not in a place of its own.
  [[nodiscard]] base::Result<std::uint64_t> material(std::uint64_t slot) const;
  [[nodiscard]] base::Result<std::vector<std::uint64_t>> chosen(const OldKeys& keys) const;
  // Overwrites the key material, then says that the slot is unused.
  [[nodiscard]] base::Result<void> wipe(std::uint64_t slot);
  [[nodiscard]] base::Result<void> store(std::uint64_t offset, base::ConstBytes bytes);

  Image& image_;
  std::uint64_t place_ = 0;  // of the LUKS header in the file
  std::vector<std::byte> header_;
  std::optional<ParsedLuks> luks_;
};

}  // namespace cowvet::engine
