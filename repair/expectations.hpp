// What a guest's file systems say must lie at places of its disk, and how well given bytes agree with that.
// Promises: evidence is in bits, positive when the bytes fit; only places that somebody asks for are kept, at
// most `most_areas` of them; who tells more than a sound file system would is asked to end.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/bytes.hpp"

namespace cowvet::repair {

struct Area {
  enum class Kind : std::uint8_t {
    checked,  // its bytes prove whether they are what belongs there
    tried,    // the same, unless they are zeros
    stored,   // certainly not all zeros
    used,     // somebody's data, hardly all zeros
    held,     // in use, for something that is not known
    perhaps,  // anything: nothing can be said
    zeros,    // zeros, since what uses it ends before
    free,     // nobody's: zeros, or what was there once
  };
  std::uint64_t begin = 0, end = 0;  // guest bytes
  Kind kind = Kind::free;
  std::uint32_t proof = 0;  // checked: which
};

struct PlaceProof {
  std::string what;  // that the bytes are: "the block bitmap of group 3"
  std::function<bool(base::ConstBytes)> holds;
};

// Bytes that may belong somewhere, with what is asked of them again and again.
class Content {
 public:
  explicit Content(base::ConstBytes bytes);
  [[nodiscard]] base::ConstBytes bytes() const { return bytes_; }
  [[nodiscard]] bool all_zero(std::uint64_t begin, std::uint64_t end) const;

 private:
  base::ConstBytes bytes_;
  std::vector<bool> zero_;  // of each piece
};

class Expectations {
 public:
  static constexpr std::size_t most_areas = 1U << 20, most_proofs = 1U << 17;
  static constexpr std::uint64_t most_told = 4U << 20;
  struct Window {
    std::uint64_t begin = 0, end = 0;  // guest bytes
  };
  // In order, not touching.
  explicit Expectations(std::vector<Window> windows) : windows_(std::move(windows)) {}

  [[nodiscard]] bool wanted(std::uint64_t begin, std::uint64_t end) const;
  // Of those who tell: how much work they made, wanted or not. True: it is enough.
  [[nodiscard]] bool exhausted() { return ++told_ > most_told; }
  void add(std::uint64_t begin, std::uint64_t end, Area::Kind kind);
  void add_check(std::uint64_t begin, std::uint64_t end, std::string what,
                 std::function<bool(base::ConstBytes)> holds, Area::Kind kind = Area::Kind::checked);
  // What holds where nothing else is said, and what a map of used blocks says of the rest.
  void add_ground(std::uint64_t begin, std::uint64_t end, Area::Kind kind);
  void add_map(std::uint64_t begin, std::uint64_t end, Area::Kind kind);
  // All is added: now ask.
  void seal();
  [[nodiscard]] bool empty() const { return areas_.empty(); }
  // All that proves itself, in the order of the disk.
  using UseCheck = std::function<void(const Area& area, const PlaceProof& proof)>;
  void for_each_check(const UseCheck& use) const;

  struct Judgement {
    double bits = 0;
    const std::string* proof = nullptr;  // what was proved, if anything was
  };
  // How much the bytes look like those at `begin`.
  [[nodiscard]] Judgement judge(std::uint64_t begin, const Content& content) const;
  // Whether something in a range proves itself.
  [[nodiscard]] bool proves(std::uint64_t begin, std::uint64_t end) const;
  // How odd it would be if nothing were stored in any unit of a range, of `unit` bytes each from its begin
  // on; bits, 0 or more. Work grows with what is expected there, not with the range.
  [[nodiscard]] double oddity_of_nothing(std::uint64_t begin, std::uint64_t end, std::uint64_t unit) const;
  // Up to where everything fits just as it does at `begin`: one and the same thing is expected, or nothing.
  [[nodiscard]] std::uint64_t same_until(std::uint64_t begin) const;

 private:
  void put_under(std::vector<Area>& ground);
  [[nodiscard]] std::size_t first_behind(std::uint64_t begin) const;

  std::vector<Window> windows_;
  std::uint64_t told_ = 0;
  std::vector<Area> areas_, ground_, map_;
  std::vector<PlaceProof> proofs_;
};

}  // namespace cowvet::repair
