// An image as it would be after a repair: the bytes in memory over the file, what the check says of them now, and what
// was done so far. All remedies write through it. Promises: the file is only read; every change is recorded with the
// action it belongs to; space that is handed out belonged to nobody, and no damaged pointer leads there.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/progress.hpp"
#include "base/result.hpp"
#include "format/geometry.hpp"
#include "format/header.hpp"
#include "repair/plan.hpp"
#include "storage/overlay.hpp"

namespace cowvet::repair {

// An entry of a table of the image.
struct EntryPlace {
  std::uint64_t offset = 0;  // of its (first) word in the file, bytes
  bool l1 = false;           // of an L1 table, otherwise of an L2 table
  std::uint64_t l1_index = 0;
  std::uint64_t l2_index = 0;
  std::uint64_t table = 0;  // offset of the table it is in
};

class Draft {
 public:
  // All of it outlives the draft.
  Draft(const storage::Device& image, const Options& options, base::Progress& progress);

  // Checks the image as it is now. Error: the check was stopped.
  [[nodiscard]] base::Result<void> examine();
  [[nodiscard]] const analyzer::Verdict& verdict() const { return verdict_; }
  [[nodiscard]] analyzer::Verdict take_verdict() { return std::move(verdict_); }
  // Findings of a rule, in order.
  [[nodiscard]] std::span<const findings::Finding> found(findings::RuleId rule) const;
  [[nodiscard]] bool any(findings::RuleId rule) const { return !found(rule).empty(); }
  // Why something that nothing refers to may be somebody's data all the same.
  [[nodiscard]] bool doubtful() const;

  [[nodiscard]] storage::Overlay& image() { return overlay_; }
  [[nodiscard]] const storage::Overlay& image() const { return overlay_; }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] base::Progress& progress() { return progress_; }
  // As the last check understood them; only where it did.
  [[nodiscard]] const format::Header& header() const { return *verdict_.header; }
  [[nodiscard]] const format::Geometry& geometry() const { return *verdict_.geometry; }

  [[nodiscard]] bool allows(findings::Consent consent) const;

  // An action goes on until the next one of another rule, consent or kind begins.
  Action& act(findings::RuleId rule, findings::Consent consent, std::string_view what);
  // The same, when it is allowed; otherwise the place is noted as withheld, and nothing is handed out.
  Action* may_act(findings::RuleId rule, findings::Consent consent, std::string_view what, Place place);
  // The same for what somebody has consented to.
  Action& act_at(findings::RuleId rule, findings::Consent consent, std::string_view what, Place place);
  // The action that was begun last.
  [[nodiscard]] Action& last() { return actions_.back(); }
  void withhold(findings::RuleId rule, findings::Consent consent, std::string_view what, Place place);
  [[nodiscard]] std::vector<Action> take_actions() { return std::move(actions_); }
  [[nodiscard]] std::vector<Withheld> take_withheld() { return std::move(withheld_); }
  // What was withheld is looked at anew.
  void forget_withheld() {
    withheld_.clear();
    spared_.clear();
    awaited_.clear();
  }
  [[nodiscard]] std::uint64_t writes() const { return writes_; }
  // The guest ranges of all that was done by choice or with loss, complete up to a million.
  [[nodiscard]] std::span<const findings::GuestRange> named() const { return named_; }

  [[nodiscard]] std::uint64_t word(std::uint64_t offset) const;  // big endian; 0 behind the end
  [[nodiscard]] std::vector<std::byte> bytes(std::uint64_t offset, std::uint64_t length) const;
  // Writes what differs, and records it; nothing where it would make the file longer, as a damaged place may,
  // or where it would change an entry that is to stay. Error: an internal limit of the overlay only.
  [[nodiscard]] base::Result<void> put(Action& action, std::uint64_t offset, base::ConstBytes bytes);
  [[nodiscard]] base::Result<void> put_word(Action& action, std::uint64_t offset, std::uint64_t word);
  // Makes the file longer, or cuts it off.
  [[nodiscard]] base::Result<void> resize(Action& action, std::uint64_t size);
  // Copies clusters inside the file.
  [[nodiscard]] base::Result<void> copy(Action& action, std::uint64_t from, std::uint64_t to,
                                        std::uint64_t length);

  // All that another draft of the same image, or of this one's, has changed. Error: an internal limit of the overlay
  // only.
  [[nodiscard]] base::Result<void> adopt(const Draft& other);

  // New space of `clusters` clusters behind all that is in the file, as zeros; on a block device, which has its length,
  // behind all that is in use, where it reads as zeros. Nothing where pointers lead there that are wrong now
  // and would be right then, or where the format or the device ends: why_no_room(). Pointers that are about
  // to be replaced, by their findings' rule, do not count.
  [[nodiscard]] std::optional<std::uint64_t> take(std::uint64_t clusters,
                                                  std::optional<findings::RuleId> replaced = {});
  // Where the next space would begin, host offset in bytes.
  [[nodiscard]] std::uint64_t room_begins() const;
  [[nodiscard]] std::string why_no_room() const;

  // Clusters that nothing refers to and that are somebody's data by the evidence: they are not freed.
  void spare(std::uint64_t first_cluster, std::uint64_t count) { spared_.push_back({first_cluster, count}); }
  [[nodiscard]] bool spared(std::uint64_t first_cluster, std::uint64_t count) const;

  // Clusters with data of a table that was lost, and which found no place in it: they stay, whatever comes.
  void keep(std::uint64_t cluster) { kept_.insert(cluster); }
  [[nodiscard]] std::set<std::uint64_t> take_kept() { return std::exchange(kept_, {}); }
  // A refcount that this repair raised: that much of it may be taken back without a doubt.
  void note_raised(std::uint64_t cluster, std::uint64_t stored) { raised_.try_emplace(cluster, stored); }
  [[nodiscard]] bool raised_above(std::uint64_t cluster, std::uint64_t count) const {
    const auto known = raised_.find(cluster);
    return known != raised_.end() && known->second <= count;
  }

  // An L1 table of a snapshot that was given up: it is not lost, and not taken back.
  void abandon(std::uint64_t l1) { abandoned_.push_back(l1); }
  void forget_abandoned() { abandoned_.clear(); }
  [[nodiscard]] bool abandoned(std::uint64_t l1) const;
  // An entry for which there is an answer that a person has to choose: nothing else is done with it.
  void await(std::uint64_t entry_offset) { awaited_.push_back(entry_offset); }
  [[nodiscard]] bool awaits(std::uint64_t entry_offset) const;

  // An entry that a person has decided about.
  void choose(std::uint64_t entry_offset) { chosen_.insert(entry_offset); }
  [[nodiscard]] bool chosen(std::uint64_t entry_offset) const { return chosen_.contains(entry_offset); }
  [[nodiscard]] bool any_chosen() const { return !chosen_.empty(); }
  // An entry that is to stay as it is: put() does nothing to it any more.
  void keep_entry(std::uint64_t entry_offset) { kept_entries_.insert(entry_offset); }

  // Whether something else claims the table's cluster, and its bytes do not look like a table: nothing is written to it
  // before it is known whose it is, or before the other one has a place of its own.
  [[nodiscard]] bool contested(const EntryPlace& place) const;

  // What a finding's path names; nothing when it is no entry of a table, or can't be reached.
  [[nodiscard]] std::optional<EntryPlace> entry(std::string_view where) const;

 private:
  struct Dangling {  // a pointer past the end of the file
    std::uint64_t begin, end;
    findings::RuleId rule;  // of its finding
  };
  void look_for_dangling();
  [[nodiscard]] bool reads_as_zeros(std::uint64_t begin, std::uint64_t end) const;
  void look_for_contested();
  struct SnapshotL1 {
    std::uint64_t offset, entries;
  };
  // By the snapshots' places in the list, which may be long: it is read once between two changes.
  [[nodiscard]] const std::vector<SnapshotL1>& snapshot_l1_tables() const;

  storage::Overlay overlay_;
  const Options& options_;
  base::Progress& progress_;
  analyzer::Verdict verdict_;
  std::vector<Action> actions_;
  std::vector<Withheld> withheld_;
  std::vector<Dangling> dangling_;
  std::set<std::uint64_t> contested_;  // clusters
  std::set<std::uint64_t> no_tables_;  // clusters of something else that L1 entries take for L2 tables
  bool dangling_complete_ = true;
  std::uint64_t taken_until_ = 0;  // of a block device: host offset in bytes
  std::vector<std::pair<std::uint64_t, std::uint64_t>> spared_;
  std::unordered_map<std::uint64_t, std::uint64_t> raised_;  // cluster -> refcount before this repair
  std::vector<std::uint64_t> awaited_;
  std::set<std::uint64_t> chosen_, kept_entries_;
  std::set<std::uint64_t> kept_;
  std::vector<std::uint64_t> abandoned_;
  std::uint64_t writes_ = 0;
  using SnapshotList =
      std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>;  // what decides it
  mutable std::optional<SnapshotList> snapshots_read_;
  mutable std::vector<SnapshotL1> snapshot_l1_tables_;
  std::vector<findings::GuestRange> named_;
};

// The 3 of a finding at "snapshot[3].name", when `what` is "snapshot".
[[nodiscard]] std::optional<std::size_t> index_in(const findings::Finding& finding, std::string_view what);

// The place of a finding.
[[nodiscard]] Place place_from(const findings::Finding& finding, std::string evidence = {});

}  // namespace cowvet::repair
