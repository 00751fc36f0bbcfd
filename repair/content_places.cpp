// What is placed lets more of the file systems be read, and so more be placed: it is done again until nothing changes.
#include "repair/content_places.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "repair/guest_disk.hpp"
#include "repair/guest_survey.hpp"
#include "repair/order_match.hpp"

namespace cowvet::repair {

using Places = base::Result<std::vector<std::optional<ContentPlace>>>;

namespace {

constexpr unsigned most_rounds = 12;
constexpr std::size_t most_pairs = 4U << 20;  // things times places that are weighed at once: 48 MiB
constexpr std::size_t most_things = 1U << 16, most_places = 1U << 20;
constexpr std::uint64_t most_read = 1ULL << 30;      // bytes that are read in a round
constexpr std::uint64_t most_sampled = 64ULL << 20;  // the same where candidates are ranked only
constexpr std::size_t most_ranked = 256;             // places that are weighed then
constexpr float sure = 6;                            // bits
constexpr float proving = 16;                        // bits that only a proof gives
constexpr std::size_t most_looked_back = 2048;
constexpr float of_nowhere = -12;  // for a thing that has no place

// What is looked for places for.
class Things {
 public:
  virtual ~Things() = default;
  [[nodiscard]] virtual std::size_t count() const = 0;
  // How well a thing fits each of these places.
  virtual void judge(std::size_t thing, const GuestDisk& disk, const Expectations& expected,
                     std::span<const std::size_t> places, std::span<float> bits) const = 0;
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
  void judge(std::size_t thing, const GuestDisk& disk, const Expectations& expected,
             std::span<const std::size_t> places, std::span<float> bits) const override {
    if (!disk.read_stored(words_[thing], bytes_)) return;
    const Content content(bytes_);
    for (std::size_t i = 0; i < bits.size(); ++i)
      bits[i] = static_cast<float>(expected.judge(places_[places[i]] << g_.cluster_bits(), content).bits);
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
  // Reads no more than so many bytes of what the tables lead to.
  Tables(const Draft& draft, std::span<const std::uint64_t> tables, std::span<const std::uint64_t> places,
         std::uint64_t most)
      : draft_(draft),
        tables_(tables),
        places_(places),
        g_(draft.geometry()),
        bytes_(static_cast<std::size_t>(g_.cluster_size())) {
    const std::uint64_t all = tables.size() * g_.span();
    step_ = std::max<std::uint64_t>(all / most, 1);
  }
  [[nodiscard]] std::size_t count() const override { return tables_.size(); }
  void judge(std::size_t thing, const GuestDisk& disk, const Expectations& expected,
             std::span<const std::size_t> places, std::span<float> bits) const override {
    const auto holds_nothing = [&](std::uint64_t from, std::uint64_t to) {
      for (std::size_t i = 0; i < bits.size(); ++i)
        bits[i] -= static_cast<float>(oddity_of_gap(places_[places[i]], from, to, expected));
    };
    const std::string* proof = nullptr;
    look(thing, disk, holds_nothing, [&](std::uint64_t inner, const Content& content) {
      for (std::size_t i = 0; i < bits.size(); ++i)
        bits[i] += static_cast<float>(bits_of(places_[places[i]], inner, content, expected, proof));
    });
  }
  [[nodiscard]] std::string proof(std::size_t thing, const GuestDisk& disk, const Expectations& expected,
                                  std::size_t place) const override {
    const std::string* proof = nullptr;
    look(
        thing, disk, [](auto, auto) {},
        [&](std::uint64_t inner, const Content& content) {
          if (proof == nullptr) (void)bits_of(places_[place], inner, content, expected, proof);
        });
    return proof == nullptr ? std::string{} : *proof;
  }
  void suppose(std::size_t thing, std::size_t place, GuestDisk& disk) const override {
    disk.suppose_table(places_[place], tables_[thing]);
  }

 private:
  // Runs of entries that store nothing, [from, to), and the content of the others.
  template <class UseGap, class Use>
  void look(std::size_t thing, const GuestDisk& disk, const UseGap& use_gap, const Use& use) const {
    const auto table = draft_.bytes(tables_[thing], g_.cluster_size());
    const base::BigEndianTable<std::uint64_t> words(table);
    const std::uint64_t each = g_.l2_entry_size() / 8;
    const auto empty = [&](std::uint64_t i) {
      const format::L2Entry entry{words[static_cast<std::size_t>(i * each)]};
      return !entry.compressed() && (entry.offset().raw() == 0 || entry.zero());
    };
    for (std::uint64_t i = 0; i < g_.l2_entries(); ++i) {
      if (empty(i)) {
        const std::uint64_t from = i;
        while (i + 1 < g_.l2_entries() && empty(i + 1)) ++i;
        use_gap(from, i + 1);
      } else if (i % step_ == 0 && disk.read_stored(words[static_cast<std::size_t>(i * each)], bytes_)) {
        use(i, Content(bytes_));
      }
    }
  }
  [[nodiscard]] double oddity_of_gap(std::uint64_t index, std::uint64_t from, std::uint64_t to,
                                     const Expectations& expected) const {
    const std::uint64_t begin = index * g_.span() + (from << g_.cluster_bits());
    const std::uint64_t end = index * g_.span() + (to << g_.cluster_bits());
    const std::uint64_t disk = draft_.header().v2.size;
    return begin >= disk ? 0 : expected.oddity_of_nothing(begin, std::min(end, disk), g_.cluster_size());
  }
  [[nodiscard]] double bits_of(std::uint64_t index, std::uint64_t inner, const Content& content,
                               const Expectations& expected, const std::string*& proof) const {
    const std::uint64_t begin = index * g_.span() + (inner << g_.cluster_bits());
    if (begin >= draft_.header().v2.size) return -24;
    const auto judgement = expected.judge(begin, content);
    if (judgement.proof != nullptr) proof = judgement.proof;
    return judgement.bits;
  }

  const Draft& draft_;
  std::span<const std::uint64_t> tables_, places_;
  const format::Geometry g_;
  std::uint64_t step_ = 1;  // entries that are looked at are so many apart
  mutable std::vector<std::byte> bytes_;
};

// Places that touch are one.
std::vector<Expectations::Window> joined(std::span<const Expectations::Window> places) {
  std::vector<Expectations::Window> windows;
  for (const auto& place : places)
    if (!windows.empty() && windows.back().end == place.begin)
      windows.back().end = place.end;
    else
      windows.push_back(place);
  return windows;
}

class Search {
 public:
  Search(const Things& things, GuestDisk disk, std::vector<Expectations::Window> places,
         const base::Progress& progress)
      : things_(things),
        disk_(std::move(disk)),
        places_(std::move(places)),
        progress_(progress),
        chosen_(things.count()) {}

  Places run() {
    for (unsigned round = 0; round < most_rounds; ++round) {
      disk_.suppose_nothing();
      for (std::size_t i = 0; i < chosen_.size(); ++i)
        if (chosen_[i].place) things_.suppose(i, *chosen_[i].place, disk_);
      Expectations expected(joined(places_));
      survey_guest(disk_, expected);
      if (expected.empty()) return std::vector<std::optional<ContentPlace>>(chosen_.size());
      auto next = choose(expected);
      if (progress_.stop_requested()) return base::fail(base::ErrorKind::cancelled, "stopped");
      const bool same =
          std::ranges::equal(next, chosen_, {}, &OrderAnswer::Choice::place, &OrderAnswer::Choice::place);
      chosen_ = std::move(next);
      if (same) return told(expected);
    }
    return std::vector<std::optional<ContentPlace>>(chosen_.size());  // no two readings of it agree
  }

 private:
  struct Pair {
    std::size_t thing = 0, place = 0;  // the place by its number among those that are weighed
  };

  [[nodiscard]] std::vector<OrderAnswer::Choice> choose(const Expectations& expected) const {
    std::vector<OrderAnswer::Choice> choices(things_.count());
    const auto places = places_to_weigh(expected, places_, things_.count());
    Pair from;
    const auto decide = [&](Pair to) {
      match(expected, places, from, to, choices);
      from = {to.thing + 1, to.place + 1};
    };
    if (places.size() > most_pairs / std::max<std::size_t>(choices.size(), 1))
      for (const auto& anchor : anchors(expected, places)) {
        decide(anchor);
        choices[anchor.thing] = {places[anchor.place], sure};
      }
    decide({choices.size(), places.size()});
    return choices;
  }

  // Things that a single place proves, in the longest order of both: what lies between two of them is decided
  // by itself.
  [[nodiscard]] std::vector<Pair> anchors(const Expectations& expected,
                                          std::span<const std::size_t> places) const {
    std::vector<std::size_t> numbers, telling;  // places with something to prove
    for (std::size_t j = 0; j < places.size(); ++j)
      if (expected.proves(places_[places[j]].begin, places_[places[j]].end)) {
        numbers.push_back(j);
        telling.push_back(places[j]);
      }
    std::vector<Pair> found;
    for (std::size_t i = 0; i < things_.count(); ++i) {
      std::vector<float> bits(telling.size());
      if (progress_.stop_requested()) return {};
      things_.judge(i, disk_, expected, telling, bits);
      const auto fits = [](float b) { return b >= proving; };
      const auto only = std::ranges::find_if(bits, fits);
      if (only != bits.end() && std::find_if(only + 1, bits.end(), fits) == bits.end())
        found.push_back({i, numbers[static_cast<std::size_t>(only - bits.begin())]});
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
  void match(const Expectations& expected, std::span<const std::size_t> all, Pair from, Pair to,
             std::vector<OrderAnswer::Choice>& choices) const {
    const auto places = all.subspan(from.place, to.place - from.place);
    OrderQuestion question{.things = to.thing - from.thing, .places = places.size(), .left = of_nowhere};
    if (question.things == 0 || question.places == 0) return;
    if (question.places > most_pairs / question.things) {
      if (question.places != question.things) return;
      for (std::size_t i = 0; i < question.things; ++i) {
        float bits = 0;
        things_.judge(from.thing + i, disk_, expected, places.subspan(i, 1), {&bits, 1});
        if (bits >= 0) choices[from.thing + i] = {places[i], sure};
      }
      return;
    }
    question.fits.resize(question.things * question.places);
    for (std::size_t i = 0; i < question.things; ++i) {
      if (progress_.stop_requested()) return;
      things_.judge(from.thing + i, disk_, expected, places,
                    std::span(question.fits).subspan(i * question.places, question.places));
    }
    for (const auto place : places) question.empty.push_back(emptiness(expected, places_[place]));
    const auto answer = match_in_order(question);
    for (std::size_t i = 0; i < question.things; ++i) {
      const auto& choice = answer.choices[i];
      if (choice.place && choice.margin >= sure)
        choices[from.thing + i] = {places[*choice.place], choice.margin};
    }
  }
  [[nodiscard]] float emptiness(const Expectations& expected, const Expectations::Window& place) const {
    return -static_cast<float>(expected.oddity_of_nothing(place.begin, place.end, disk_.unit()));
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
  const base::Progress& progress_;
  std::vector<OrderAnswer::Choice> chosen_;
};

// Whether content can tell anything, and it is not too much.
bool can_tell(const Draft& draft, std::size_t things, std::size_t places) {
  return things != 0 && places != 0 && things <= most_things && places <= most_places &&
         draft.header().v2.crypt_method == 0 && !draft.header().external_data_file();
}

// What the disk shows under these entries of the L1 table, none of which is believed any more.
std::vector<Expectations::Window> doubted(GuestDisk& disk, std::span<const std::uint64_t> l1_indices) {
  const std::uint64_t span = disk.geometry().span();
  std::vector<Expectations::Window> places;
  for (const auto index : l1_indices) {
    disk.doubt_table(index);
    places.push_back({index * span, std::min((index + 1) * span, disk.size())});
  }
  return places;
}

}  // namespace

std::vector<std::size_t> places_to_weigh(const Expectations& expected,
                                         std::span<const Expectations::Window> places, std::size_t things) {
  std::vector<std::size_t> chosen;
  const auto length = [](const Expectations::Window& w) { return w.end - w.begin; };
  for (auto at = places.begin(); at != places.end();) {
    const std::uint64_t same = expected.same_until(at->begin);
    // A last one that the disk's end cuts is told by that.
    const auto alike = std::partition_point(at, places.end(), [&](const auto& place) {
      return place.end <= same && length(place) == length(places.front());
    });
    const auto end = alike == at ? at + 1 : alike;
    const auto count = std::min(static_cast<std::size_t>(end - at), things + 1);
    for (std::size_t i = 0; i < count; ++i)
      chosen.push_back(static_cast<std::size_t>(at - places.begin()) + i);
    at = end;
  }
  return chosen;
}

Places tables_by_content(Draft& draft, std::span<const std::uint64_t> tables,
                         std::span<const std::uint64_t> l1_indices) {
  if (!can_tell(draft, tables.size(), l1_indices.size()))
    return std::vector<std::optional<ContentPlace>>(tables.size());
  GuestDisk disk(draft);
  auto places = doubted(disk, l1_indices);
  return Search(Tables(draft, tables, l1_indices, most_read), std::move(disk), std::move(places),
                draft.progress())
      .run();
}

Places clusters_by_content(Draft& draft, std::span<const std::uint64_t> words,
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
  return Search(Clusters(words, guest_clusters, g), std::move(disk), std::move(places), draft.progress())
      .run();
}

std::vector<float> fits_by_content(Draft& draft, std::span<const std::uint64_t> tables,
                                   std::span<const std::uint64_t> l1_indices) {
  std::vector<float> bits(tables.size() * l1_indices.size());
  if (!can_tell(draft, tables.size(), l1_indices.size())) return bits;
  GuestDisk disk(draft);
  const auto places = doubted(disk, l1_indices);
  Expectations expected(joined(places));
  survey_guest(disk, expected);
  const auto weighed = places_to_weigh(expected, places, tables.size());
  if (expected.empty() || weighed.size() > most_ranked) return bits;
  const Tables things(draft, tables, l1_indices, most_sampled);
  for (std::size_t i = 0; i < tables.size() && !draft.progress().stop_requested(); ++i) {
    std::vector<float> fits(weighed.size());
    things.judge(i, disk, expected, weighed, fits);
    for (std::size_t n = 0; n < weighed.size(); ++n) bits[i * l1_indices.size() + weighed[n]] = fits[n];
  }
  return bits;
}

}  // namespace cowvet::repair
