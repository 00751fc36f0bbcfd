// What is placed lets more of the file systems be read, and so more be placed: it is done again until nothing changes.
#include "repair/content_places.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "repair/guest_disk.hpp"
#include "repair/guest_survey.hpp"
#include "repair/order_match.hpp"

namespace cowvet::repair {

namespace {

constexpr unsigned most_rounds = 12;
constexpr std::size_t most_pairs = 4U << 20;  // things times places that are weighed at once: 48 MiB
constexpr std::size_t most_things = 1U << 16, most_places = 1U << 20;
constexpr std::uint64_t most_read = 1ULL << 30;  // bytes that are read in a round
constexpr float sure = 6;                        // bits
constexpr float proved = 16;                     // bits that only a proof gives
constexpr std::size_t most_looked_back = 2048;
constexpr float of_nowhere = -12;  // for a thing that has no place

// What is looked for places for.
class Things {
 public:
  virtual ~Things() = default;
  [[nodiscard]] virtual std::size_t count() const = 0;
  // How well a thing fits each of the places from `first` on.
  virtual void judge(std::size_t thing, const GuestDisk& disk, const Expectations& expected,
                     std::size_t first, std::span<float> bits) const = 0;
  // What proves that it belongs to a place; "" if nothing does.
  [[nodiscard]] virtual std::string proof(std::size_t thing, const GuestDisk& disk,
                                          const Expectations& expected, std::size_t place) const = 0;
  virtual void suppose(std::size_t thing, std::size_t place, GuestDisk& disk) const = 0;
};

class Clusters final : public Things {
 public:
  Clusters(std::span<const std::uint64_t> words, std::span<const std::uint64_t> places,
           const format::Geometry& g)
      : words_(words), places_(places), g_(g), bytes_(static_cast<std::size_t>(g.cluster_size())) {}
  [[nodiscard]] std::size_t count() const override { return words_.size(); }
  void judge(std::size_t thing, const GuestDisk& disk, const Expectations& expected, std::size_t first,
             std::span<float> bits) const override {
    if (!disk.read_stored(words_[thing], bytes_)) return;
    const Content content(bytes_);
    for (std::size_t i = 0; i < bits.size(); ++i)
      bits[i] = static_cast<float>(expected.judge(places_[first + i] << g_.cluster_bits(), content).bits);
  }
  [[nodiscard]] std::string proof(std::size_t thing, const GuestDisk& disk, const Expectations& expected,
                                  std::size_t place) const override {
    if (!disk.read_stored(words_[thing], bytes_)) return {};
    const auto* found = expected.judge(places_[place] << g_.cluster_bits(), Content(bytes_)).proof;
    return found == nullptr ? std::string{} : *found;
  }
  void suppose(std::size_t thing, std::size_t place, GuestDisk& disk) const override {
    disk.suppose_cluster(places_[place], words_[thing]);
  }

 private:
  std::span<const std::uint64_t> words_, places_;
  const format::Geometry g_;
  mutable std::vector<std::byte> bytes_;
};

class Tables final : public Things {
 public:
  Tables(const Draft& draft, std::span<const std::uint64_t> tables, std::span<const std::uint64_t> places)
      : draft_(draft),
        tables_(tables),
        places_(places),
        g_(draft.geometry()),
        bytes_(static_cast<std::size_t>(g_.cluster_size())) {
    const std::uint64_t all = tables.size() * g_.span();
    step_ = std::max<std::uint64_t>(all / most_read, 1);
  }
  [[nodiscard]] std::size_t count() const override { return tables_.size(); }
  void judge(std::size_t thing, const GuestDisk& disk, const Expectations& expected, std::size_t first,
             std::span<float> bits) const override {
    const std::string* proof = nullptr;
    look(thing, disk, [&](std::uint64_t inner, const Content* content) {
      for (std::size_t i = 0; i < bits.size(); ++i)
        bits[i] += static_cast<float>(bits_of(places_[first + i], inner, content, expected, proof));
    });
  }
  [[nodiscard]] std::string proof(std::size_t thing, const GuestDisk& disk, const Expectations& expected,
                                  std::size_t place) const override {
    const std::string* proof = nullptr;
    look(thing, disk, [&](std::uint64_t inner, const Content* content) {
      if (proof == nullptr) (void)bits_of(places_[place], inner, content, expected, proof);
    });
    return proof == nullptr ? std::string{} : *proof;
  }
  void suppose(std::size_t thing, std::size_t place, GuestDisk& disk) const override {
    disk.suppose_table(places_[place], tables_[thing]);
  }

 private:
  template <class Use>
  void look(std::size_t thing, const GuestDisk& disk, const Use& use) const {
    const auto table = draft_.bytes(tables_[thing], g_.cluster_size());
    const base::BigEndianTable<std::uint64_t> words(table);
    const std::uint64_t each = g_.l2_entry_size() / 8;
    for (std::uint64_t i = 0; i < g_.l2_entries(); ++i) {
      const format::L2Entry entry{words[static_cast<std::size_t>(i * each)]};
      if (!entry.compressed() && (entry.offset().raw() == 0 || entry.zero())) {
        use(i, nullptr);
      } else if (i % step_ == 0 && disk.read_stored(entry.word, bytes_)) {
        const Content content(bytes_);
        use(i, &content);
      }
    }
  }
  [[nodiscard]] double bits_of(std::uint64_t index, std::uint64_t inner, const Content* content,
                               const Expectations& expected, const std::string*& proof) const {
    const std::uint64_t begin = index * g_.span() + (inner << g_.cluster_bits());
    const std::uint64_t disk = draft_.header().v2.size;
    if (begin >= disk) return content == nullptr ? 0 : -24;
    if (content == nullptr)
      return -expected.oddity_of_nothing(begin, std::min(begin + g_.cluster_size(), disk));
    const auto judgement = expected.judge(begin, *content);
    if (judgement.proof != nullptr) proof = judgement.proof;
    return judgement.bits;
  }

  const Draft& draft_;
  std::span<const std::uint64_t> tables_, places_;
  const format::Geometry g_;
  std::uint64_t step_ = 1;  // entries that are looked at are so many apart
  mutable std::vector<std::byte> bytes_;
};

class Search {
 public:
  Search(const Things& things, GuestDisk disk, std::vector<Expectations::Window> places)
      : things_(things), disk_(std::move(disk)), places_(std::move(places)), chosen_(things.count()) {}

  std::vector<std::optional<ContentPlace>> run() {
    for (unsigned round = 0; round < most_rounds; ++round) {
      disk_.suppose_nothing();
      for (std::size_t i = 0; i < chosen_.size(); ++i)
        if (chosen_[i].place) things_.suppose(i, *chosen_[i].place, disk_);
      Expectations expected(joined());
      survey_guest(disk_, expected);
      if (expected.empty()) return std::vector<std::optional<ContentPlace>>(chosen_.size());
      auto next = choose(expected);
      const bool same =
          std::ranges::equal(next, chosen_, {}, &OrderAnswer::Choice::place, &OrderAnswer::Choice::place);
      chosen_ = std::move(next);
      if (same) return told(expected);
    }
    return std::vector<std::optional<ContentPlace>>(chosen_.size());  // no two readings of it agree
  }

 private:
  [[nodiscard]] std::vector<Expectations::Window> joined() const {
    std::vector<Expectations::Window> windows;
    for (const auto& place : places_)
      if (!windows.empty() && windows.back().end == place.begin)
        windows.back().end = place.end;
      else
        windows.push_back(place);
    return windows;
  }
  struct Pair {
    std::size_t thing = 0, place = 0;
  };

  [[nodiscard]] std::vector<OrderAnswer::Choice> choose(const Expectations& expected) const {
    std::vector<OrderAnswer::Choice> choices(things_.count());
    Pair from;
    const auto decide = [&](Pair to) {
      match(expected, from, to, choices);
      from = {to.thing + 1, to.place + 1};
    };
    if (places_.size() > most_pairs / std::max<std::size_t>(choices.size(), 1))
      for (const auto& anchor : anchors(expected)) {
        decide(anchor);
        choices[anchor.thing] = {anchor.place, sure};
      }
    decide({choices.size(), places_.size()});
    return choices;
  }

  // Things that a single place proves, in the longest order of both: what lies between two of them is decided
  // by itself.
  [[nodiscard]] std::vector<Pair> anchors(const Expectations& expected) const {
    std::vector<std::size_t> telling;  // places with something to prove
    for (std::size_t j = 0; j < places_.size(); ++j)
      if (expected.proves(places_[j].begin, places_[j].end)) telling.push_back(j);
    std::vector<Pair> found;
    for (std::size_t i = 0; i < things_.count(); ++i) {
      std::optional<std::size_t> only;
      bool several = false;
      for (const auto j : telling) {
        float bits = 0;
        things_.judge(i, disk_, expected, j, {&bits, 1});
        if (bits < proved) continue;
        several = several || only;
        only = j;
      }
      if (only && !several) found.push_back({i, *only});
    }
    // The longest run of ascending places.
    std::vector<std::size_t> length(found.size(), 1), before(found.size(), found.size());
    for (std::size_t k = 0; k < found.size(); ++k)
      for (std::size_t j = k > most_looked_back ? k - most_looked_back : 0; j < k; ++j)
        if (found[j].place < found[k].place && length[j] + 1 > length[k]) {
          length[k] = length[j] + 1;
          before[k] = j;
        }
    std::vector<Pair> run;
    for (auto k = static_cast<std::size_t>(std::ranges::max_element(length) - length.begin());
         k < found.size(); k = before[k])
      run.push_back(found[k]);
    std::ranges::reverse(run);
    return run;
  }

  // Things and places from `from` up to `to`. Too many of both for all pairs are matched one by one, where
  // they are as many.
  void match(const Expectations& expected, Pair from, Pair to,
             std::vector<OrderAnswer::Choice>& choices) const {
    OrderQuestion question{
        .things = to.thing - from.thing, .places = to.place - from.place, .left = of_nowhere};
    if (question.things == 0 || question.places == 0) return;
    if (question.places > most_pairs / question.things) {
      if (question.places != question.things) return;
      for (std::size_t i = 0; i < question.things; ++i) {
        float bits = 0;
        things_.judge(from.thing + i, disk_, expected, from.place + i, {&bits, 1});
        if (bits >= 0) choices[from.thing + i] = {from.place + i, sure};
      }
      return;
    }
    question.fits.resize(question.things * question.places);
    for (std::size_t i = 0; i < question.things; ++i)
      things_.judge(from.thing + i, disk_, expected, from.place,
                    std::span(question.fits).subspan(i * question.places, question.places));
    for (std::size_t j = from.place; j < to.place; ++j)
      question.empty.push_back(emptiness(expected, places_[j]));
    const auto answer = match_in_order(question);
    for (std::size_t i = 0; i < question.things; ++i) {
      const auto& choice = answer.choices[i];
      if (choice.place && choice.margin >= sure)
        choices[from.thing + i] = {from.place + *choice.place, choice.margin};
    }
  }
  [[nodiscard]] float emptiness(const Expectations& expected, const Expectations::Window& place) const {
    const std::uint64_t cluster = disk_.unit();
    double bits = 0;
    for (std::uint64_t at = place.begin; at < place.end; at += cluster)
      bits -= expected.oddity_of_nothing(at, std::min(at + cluster, place.end));
    return static_cast<float>(bits);
  }

  [[nodiscard]] std::vector<std::optional<ContentPlace>> told(const Expectations& expected) const {
    std::vector<std::optional<ContentPlace>> answers(chosen_.size());
    for (std::size_t i = 0; i < chosen_.size(); ++i) {
      if (!chosen_[i].place) continue;
      const auto proof = things_.proof(i, disk_, expected, *chosen_[i].place);
      answers[i] = {*chosen_[i].place,
                    proof.empty()
                        ? fmt::format("by the order of the file and what the guest's file system uses; any "
                                      "other order fits worse by {:.0f} bits",
                                      std::min(chosen_[i].margin, 1e4F))
                        : fmt::format("it holds {} of the guest's file system", proof)};
    }
    return answers;
  }

  const Things& things_;
  GuestDisk disk_;
  std::vector<Expectations::Window> places_;
  std::vector<OrderAnswer::Choice> chosen_;
};

// Whether content can tell anything, and it is not too much.
bool can_tell(const Draft& draft, std::size_t things, std::size_t places) {
  return things != 0 && places != 0 && things <= most_things && places <= most_places &&
         draft.header().v2.crypt_method == 0 && !draft.header().external_data_file();
}

}  // namespace

std::vector<std::optional<ContentPlace>> tables_by_content(const Draft& draft,
                                                           std::span<const std::uint64_t> tables,
                                                           std::span<const std::uint64_t> l1_indices) {
  if (!can_tell(draft, tables.size(), l1_indices.size()))
    return std::vector<std::optional<ContentPlace>>(tables.size());
  const auto& g = draft.geometry();
  GuestDisk disk(draft);
  std::vector<Expectations::Window> places;
  for (const auto index : l1_indices) {
    disk.doubt_table(index);
    places.push_back({index * g.span(), std::min((index + 1) * g.span(), disk.size())});
  }
  return Search(Tables(draft, tables, l1_indices), std::move(disk), std::move(places)).run();
}

std::vector<std::optional<ContentPlace>> clusters_by_content(const Draft& draft,
                                                             std::span<const std::uint64_t> words,
                                                             std::span<const std::uint64_t> guest_clusters) {
  const auto& g = draft.geometry();
  if (!can_tell(draft, words.size(), guest_clusters.size()) || words.size() > most_read >> g.cluster_bits())
    return std::vector<std::optional<ContentPlace>>(words.size());
  GuestDisk disk(draft);
  std::vector<Expectations::Window> places;
  for (const auto cluster : guest_clusters) {
    disk.doubt_cluster(cluster);
    places.push_back({cluster << g.cluster_bits(), std::min((cluster + 1) << g.cluster_bits(), disk.size())});
  }
  return Search(Clusters(words, guest_clusters, g), std::move(disk), std::move(places)).run();
}

}  // namespace cowvet::repair
