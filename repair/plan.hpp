// What a repair would do to an image, or did: actions in order, each with the rule that asks for it, what it costs, and
// the bytes; and what was not done, and why. Promises: plain values; counts are complete where lists are cut.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "analyzer/verdict.hpp"
#include "findings/finding.hpp"
#include "findings/rule.hpp"
#include "repair/proof.hpp"
#include "storage/device.hpp"

namespace cowvet::repair {

// How far a repair may go; each includes the ones before it.
enum class Level : std::uint8_t {
  lossless,  // no byte that a guest can read changes, nothing is freed
  leaks,     // also gives space back that nothing refers to
  all,       // also takes the best supported of several answers
};

// The backing file under another name.
struct Reconnection {
  std::string name;      // as the image is to store it: raw bytes
  std::string evidence;  // that it is the file
  bool proved = false;   // by what it holds
};

// What a person has decided about an entry of an L1 or L2 table.
struct Choice {
  std::string entry;  // as plans name it: "l1[3]", "snapshot[0].l1[1].l2[17]"
  std::optional<std::uint64_t>
      to;  // host offset of what it is to lead to, bytes; nothing: it is left as it is
};

struct Options {
  Level level = Level::lossless;
  bool allow_loss = false;  // with Level::all: also what gives up data that can't be reached
  unsigned jobs = 0;        // threads; 0: as many as there are cores
  bool assume_qcow2 = false;
  std::string path{};                          // of the image, for relative names; may be empty
  const storage::Device* data_file = nullptr;  // the external data file; read only
  // An image that was made like this one: its header tells what a lost one's content does not.
  const storage::Device* model = nullptr;
  const Reconnection* reconnect = nullptr;
  std::vector<Choice>
      choices{};  // each is consent enough for itself, but where it makes something unreadable
};

// Bytes of the file that an action changes. `before` and `after` are cut to their first bytes.
struct Change {
  std::uint64_t offset = 0, length = 0;
  std::vector<std::byte> before{}, after{};
  static constexpr std::size_t most_shown = 64;
};

// An entry that something lost may belong to.
struct Candidate {
  std::string where{};           // the entry
  findings::GuestRange guest{};  // that would show it
  std::uint64_t to = 0;          // host offset of what is lost: the two make a Choice
  std::string evidence{};
};

// One place that an action mends.
struct Place {
  std::string where{};                        // as findings name it: "l1[3].l2[17]"
  std::vector<findings::GuestRange> guest{};  // what it means to the guest
  std::string evidence{};                     // why this is done and nothing else; "" where the rule says it
  std::vector<Candidate> candidates{};        // where several answers are possible: the best supported first
};

// The same thing done in one or many places.
struct Action {
  findings::RuleId rule;
  findings::Consent consent = findings::Consent::lossless;
  std::string what{};           // "clear the COPIED flag": what is done, without a full stop
  std::uint64_t count = 0;      // places
  std::vector<Place> places{};  // the first of them
  std::uint64_t changes = 0;    // ranges of bytes
  std::uint64_t bytes = 0;      // in all these ranges
  std::vector<Change> first_changes{};
  static constexpr std::size_t most_places = 100;
  static constexpr std::size_t most_changes = 16;
};

// What could be done and was not asked for, or can't be done: with the consent it takes, or Consent::none.
struct Withheld {
  findings::RuleId rule;
  findings::Consent consent = findings::Consent::none;
  std::string what{};
  std::uint64_t count = 0;
  std::vector<Place> places{};
};

struct Plan {
  analyzer::Verdict before, after;  // the check of the image, and of what it would be
  std::vector<Action> actions;
  std::vector<Withheld> withheld;
  std::uint64_t size_before = 0, size_after = 0;  // of the file, bytes
  // What the layers show afterwards, held against what they showed; nothing where no layer could be told before.
  std::optional<Proof> proof;
  // Why the plan must not be carried out: something would read otherwise that no action names. "" when it may.
  std::string objection;

  [[nodiscard]] bool changes_anything() const { return !actions.empty(); }
};

}  // namespace cowvet::repair
